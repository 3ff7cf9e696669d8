import errno
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cosmos.config.machine import Machine
from cosmos.config.params import (
    InlineParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    TextParams,
    ViewParams,
)
from cosmos.data.batch import Batch
from cosmos.data.loader import Batches, colours_on_device, make_loader
from cosmos.data.manifest import Manifest, ShardInfo
from cosmos.data.readable import ReadableSamples, find_damaged_shards
from cosmos.data.sample import Sample
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.errors import TransientError
from tests.data.examples import flip_bit_behind

NUM_SHARDS, SAMPLES_PER_SHARD, BATCH = 3, 7, 4
STEPS_PER_EPOCH = NUM_SHARDS * SAMPLES_PER_SHARD // BATCH
NUM_STEPS = 2 * STEPS_PER_EPOCH + 1


def params(**pretrain: Any) -> Params:
    return Params(
        views=ViewParams(image_size=16, local_size=8, num_local_crops=2, num_captions=3),
        model=ModelParams(inline=InlineParams(text=TextParams(context_length=12))),
        pretrain=PretrainParams(**{"batch_size": BATCH, **pretrain}),
    )


def sample(number: int) -> Sample:
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    adjectives = ["red", "green", "blue", "large", "small", "round"]
    captions = [f"{first} {second} {number}" for first in adjectives for second in adjectives]
    return Sample(f"{number:04d}", buffer.getvalue(), {"captions": captions})


def write_samples(folder: Path, samples: Iterable[Sample]) -> ShardedSamples:
    folder.mkdir(parents=True)
    rest, shards = list(samples), list[ShardInfo]()
    while rest:
        part, rest = rest[:SAMPLES_PER_SHARD], rest[SAMPLES_PER_SHARD:]
        shards.append(write_shard(folder / f"shard-{len(shards):05d}.tar", part))
    Manifest("captions", tuple(shards), (), {}).write(folder)
    return ShardedSamples(folder, Machine())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "train"
    write_samples(folder, map(sample, range(NUM_SHARDS * SAMPLES_PER_SHARD)))
    return folder


@pytest.fixture
def samples(folder: Path) -> ShardedSamples:
    return ShardedSamples(folder, Machine())


@pytest.fixture
def own_samples(tmp_path: Path) -> ShardedSamples:
    """Shards that a test may damage."""
    return write_samples(tmp_path / "train", map(sample, range(NUM_SHARDS * SAMPLES_PER_SHARD)))


def batches(
    samples: ShardedSamples,
    settings: Params | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    first_step: int = 0,
    num_steps: int = NUM_STEPS,
    wait: float = 0,
    augment_on: str = "auto",
) -> Batches:
    settings = settings or params()
    machine = Machine(workers=workers, device="cpu", data_wait_minutes=wait, augment_on=augment_on)
    readable = find_readable(samples, settings)
    return make_loader(readable, settings, machine, rank, world_size, first_step, num_steps)


def find_readable(samples: ShardedSamples, settings: Params) -> ReadableSamples:
    return ReadableSamples.of(samples, find_damaged_shards(samples, settings), settings)


def same(first: Batch, second: Batch) -> bool:
    return (
        (first.keys, first.damage) == (second.keys, second.damage)
        and torch.equal(first.global_crops, second.global_crops)
        and torch.equal(first.local_crops, second.local_crops)
        and torch.equal(first.tokens, second.tokens)
        and np.array_equal(first.lengths, second.lengths)
    )


def joined(parts: tuple[Batch, ...]) -> Batch:
    return Batch(
        torch.cat([part.global_crops for part in parts]),
        torch.cat([part.local_crops for part in parts]),
        torch.cat([part.tokens for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        tuple(key for part in parts for key in part.keys),
        tuple(item for part in parts for item in part.damage),
    )


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> list[Batch]:
    return list(batches(ShardedSamples(folder, Machine())))


class TestBatches:
    def test_a_batch_has_the_documented_form(self, uninterrupted: list[Batch]) -> None:
        batch = uninterrupted[0]
        assert batch.global_crops.shape == (BATCH, 2, 3, 16, 16)
        assert batch.local_crops.shape == (BATCH, 2, 3, 8, 8)
        assert batch.tokens.shape == (BATCH, 3, 12)
        assert (batch.global_crops.dtype, batch.tokens.dtype) == (torch.float32, torch.int64)
        assert len(set(batch.keys)) == BATCH
        assert batch.num_replaced == 0

    def test_there_are_as_many_as_asked_for_through_epochs(self, uninterrupted: list[Batch]) -> None:
        assert len(uninterrupted) == NUM_STEPS
        epoch = [key for batch in uninterrupted[:STEPS_PER_EPOCH] for key in batch.keys]
        assert len(set(epoch)) == len(epoch)

    def test_views_of_a_sample_differ_between_epochs(self, uninterrupted: list[Batch]) -> None:
        crops: dict[str, set[bytes]] = {}
        for batch in uninterrupted:
            for key, views in zip(batch.keys, batch.global_crops, strict=True):
                crops.setdefault(key, set()).add(views.numpy().tobytes())
        times_seen = [key for batch in uninterrupted for key in batch.keys]
        assert all(len(different) == times_seen.count(key) for key, different in crops.items())

    def test_seeds_differ(self, samples: ShardedSamples, uninterrupted: list[Batch]) -> None:
        other = next(batches(samples, params(seed=1)))
        assert other.keys != uninterrupted[0].keys

    def test_the_loader_leaves_the_processs_random_numbers_alone(self, samples: ShardedSamples) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        for workers in (0, 1):
            torch.manual_seed(5)
            list(batches(samples, workers=workers, num_steps=2))
            assert torch.equal(torch.rand(3), expected)


class TestResuming:
    @pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")  # more than cores
    @pytest.mark.parametrize("workers", [0, 1, 3])
    @pytest.mark.parametrize("world_size", [1, 2])
    @pytest.mark.parametrize("first_step", [0, STEPS_PER_EPOCH + 2])
    def test_gives_the_batches_that_were_left_for_any_number_of_workers_and_ranks(
        self,
        samples: ShardedSamples,
        uninterrupted: list[Batch],
        workers: int,
        world_size: int,
        first_step: int,
    ) -> None:
        ranks = [
            list(
                batches(
                    samples,
                    workers=workers,
                    rank=rank,
                    world_size=world_size,
                    first_step=first_step,
                    num_steps=NUM_STEPS - first_step,
                )
            )
            for rank in range(world_size)
        ]
        resumed = [joined(parts) for parts in zip(*ranks, strict=True)]
        assert len(resumed) == NUM_STEPS - first_step
        assert all(map(same, resumed, uninterrupted[first_step:]))

    def test_the_samples_views_can_be_sent_to_spawned_workers(self, samples: ShardedSamples) -> None:
        from cosmos.data.loader import _SampleViews

        views = _SampleViews(samples, params(), find_readable(samples, params()).order.shards)
        sent = pickle.loads(pickle.dumps(views))
        crops, expected = (dataset.draw(0, 3).global_crops for dataset in (sent, views))
        assert np.array_equal(crops.pixels, expected.pixels)
        assert np.array_equal(crops.draws, expected.draws)


class TestPlaceOfColours:
    @pytest.mark.parametrize("workers", [0, 1])
    def test_changes_no_batch_beyond_float_error(
        self, samples: ShardedSamples, uninterrupted: list[Batch], workers: int
    ) -> None:
        on_device = list(batches(samples, workers=workers, num_steps=3, augment_on="device"))
        for batch, expected in zip(on_device, uninterrupted, strict=False):
            assert batch.keys == expected.keys
            assert torch.equal(batch.tokens, expected.tokens)
            for name in ("global_crops", "local_crops"):
                crops, others = getattr(batch, name), getattr(expected, name)
                assert torch.allclose(crops, others, rtol=0, atol=1e-4)

    def test_is_a_cuda_device_by_itself(self) -> None:
        cpu, cuda = torch.device("cpu"), torch.device("cuda")
        assert [colours_on_device(Machine(), device) for device in (cpu, cuda)] == [False, True]
        for place, expected in (("workers", False), ("device", True)):
            machine = Machine(augment_on=place)
            assert colours_on_device(machine, cpu) is colours_on_device(machine, cuda) is expected


class TestDamage:
    def damaged(self, folder: Path, numbers: set[int]) -> ShardedSamples:
        whole = map(sample, range(NUM_SHARDS * SAMPLES_PER_SHARD))
        return write_samples(
            folder,
            (Sample(s.key, s.image[:200], s.annotation) if int(s.key) in numbers else s for s in whole),
        )

    def test_damaged_samples_are_replaced_and_counted(self, tmp_path: Path) -> None:
        samples = self.damaged(tmp_path / "train", {2, 11, 12})
        loaded = list(batches(samples, num_steps=STEPS_PER_EPOCH))
        keys = {key for batch in loaded for key in batch.keys}
        assert keys.isdisjoint({"0002", "0011", "0012"})
        assert 2 <= sum(batch.num_replaced for batch in loaded) <= 3
        assert all(len(batch) == BATCH for batch in loaded)

    def test_a_sample_whose_caption_has_a_flipped_bit_is_damaged(self, own_samples: ShardedSamples) -> None:
        flip_bit_behind(own_samples.folder / "shard-00000.tar", b'{"captions":["', 16)
        loaded = list(batches(own_samples, num_steps=STEPS_PER_EPOCH))
        [damage] = {item for batch in loaded for item in batch.damage}
        assert "shard-00000.tar: sample 0000: its bytes are not those that were prepared" in damage.problem
        assert all("0000" not in batch.keys for batch in loaded)

    def test_replacements_are_the_same_for_any_number_of_workers(self, tmp_path: Path) -> None:
        samples = self.damaged(tmp_path / "train", {2, 11, 12})
        alone, shared = (list(batches(samples, workers=workers)) for workers in (0, 2))
        assert all(map(same, alone, shared))

    @pytest.mark.parametrize("workers", [0, 1])
    def test_nothing_but_damage_stops_training_and_names_samples(self, tmp_path: Path, workers: int) -> None:
        samples = self.damaged(tmp_path / "train", set(range(NUM_SHARDS * SAMPLES_PER_SHARD)))
        with pytest.raises(ValueError, match=r"10 samples in a row are damaged(.|\n)*sample 00\d\d: image"):
            list(batches(samples, workers=workers))

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_disk_that_fails_is_no_damage(
        self, samples: ShardedSamples, monkeypatch: pytest.MonkeyPatch, workers: int
    ) -> None:
        def fail(*_: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("cosmos.data.shards.samples.os.pread", fail)
        with pytest.raises(
            TransientError, match=rf"^{samples.folder}/shard-0000\d.tar: sample .*Input/output error\)"
        ):
            list(batches(samples, workers=workers))


def at_first_pause(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> None:
    """Make the first pause in a wait for data a call, and take no time for others."""
    calls = [call]

    def pause(seconds: float) -> None:
        if calls:
            calls.pop()()

    monkeypatch.setattr("cosmos.data.patience.time.sleep", pause)


@pytest.mark.parametrize("workers", [0, 2])
class TestAbsentShards:
    @pytest.mark.parametrize("name", ["shard-00001.tar", "shard-00001.idx.npz"])
    def test_are_waited_for_and_change_no_batch(
        self,
        own_samples: ShardedSamples,
        uninterrupted: list[Batch],
        tmp_path: Path,
        workers: int,
        name: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        loader = batches(own_samples, workers=workers, wait=1)
        file = (tmp_path / "train" / name).rename(tmp_path / name)
        at_first_pause(monkeypatch, lambda: file.rename(tmp_path / "train" / name))
        assert all(itertools.starmap(same, zip(loader, uninterrupted, strict=True)))
        assert f"waits for data, up to 1 minutes: {tmp_path}/train/shard-00001.tar: " in caplog.text
        assert "goes on after" in caplog.text

    def test_are_put_back_in_pieces(
        self,
        own_samples: ShardedSamples,
        uninterrupted: list[Batch],
        tmp_path: Path,
        workers: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        loader = batches(own_samples, workers=workers, wait=1)
        file = tmp_path / "train" / "shard-00001.tar"
        content = file.read_bytes()
        os.truncate(file, len(content) // 2)
        at_first_pause(monkeypatch, lambda: file.write_bytes(content))
        assert all(itertools.starmap(same, zip(loader, uninterrupted, strict=True)))

    def test_stop_training_after_the_wait(
        self, own_samples: ShardedSamples, tmp_path: Path, workers: int
    ) -> None:
        loader = batches(own_samples, workers=workers, wait=0.001)
        (tmp_path / "train" / "shard-00001.tar").unlink()
        with pytest.raises(
            TransientError, match=rf"^{tmp_path}/train/shard-00001\.tar: no such file.*waited 0\.001 minutes"
        ):
            list(loader)


class TestRefusals:
    def test_a_batch_that_ranks_cannot_share(self, samples: ShardedSamples) -> None:
        with pytest.raises(ValueError, match=r"pretrain\.batch_size: 4 .* 3 ranks"):
            batches(samples, world_size=3)

    def test_a_batch_larger_than_the_data(self, samples: ShardedSamples) -> None:
        with pytest.raises(ValueError, match=r"pretrain\.batch_size: 22 .* 21"):
            batches(samples, params(batch_size=22))

    def test_a_caption_mode_that_the_annotations_do_not_have(self, samples: ShardedSamples) -> None:
        settings = params().model_copy(update={"views": ViewParams(caption_mode="long")})
        with pytest.raises(ValueError, match=r"views\.caption_mode: long .* DreamLIP"):
            batches(samples, settings)


class TestLocalCrops:
    @pytest.mark.parametrize(
        ("distillation", "expected"),
        [("cross-modal", 2), ("no-cross-attention", 2), ("image-only", 2), ("text-only", 0), ("none", 0)],
    )
    def test_are_made_where_the_objective_uses_them(
        self, samples: ShardedSamples, distillation: Any, expected: int
    ) -> None:
        settings = params().model_copy(update={"loss": LossParams(distillation=distillation)})
        assert settings.num_local_crops == expected
        assert next(batches(samples, settings)).local_crops.shape == (BATCH, expected, 3, 8, 8)

    def test_global_crops_and_captions_do_not_depend_on_them(
        self, samples: ShardedSamples, uninterrupted: list[Batch]
    ) -> None:
        settings = params().model_copy(update={"loss": LossParams(distillation="none")})
        baseline = next(batches(samples, settings))
        assert torch.equal(baseline.global_crops, uninterrupted[0].global_crops)
        assert torch.equal(baseline.tokens, uninterrupted[0].tokens)


ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from cosmos.data.shards.samples import ShardedSamples
from cosmos.config.machine import Machine
from tests.data.test_loader import batches

if __name__ == "__main__":
    loader = batches(ShardedSamples(Path(sys.argv[1]), Machine()), workers=2, num_steps=10_000)
    next(loader)
    print("started", flush=True)
    {end}
"""


def run_until(end: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT.format(end=end), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "started\n", process.communicate()[1]
    return process


def exit_code(process: "subprocess.Popen[str]") -> int:
    """Wait for a process and its workers, which hold its pipes open; kill it when they take too long."""
    try:
        process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode


class TestWorkers:
    def test_leave_the_launchers_signals_to_the_training_process(self, samples: ShardedSamples) -> None:
        loader = batches(samples, workers=2)
        first = [next(loader), next(loader)]  # one from each worker: both have started
        for child in multiprocessing.active_children():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
                os.kill(child.pid or 0, number)
        assert [len(batch) for batch in (*first, *loader)] == [BATCH] * NUM_STEPS

    def test_collect_no_garbage_among_what_they_inherit(self) -> None:
        from cosmos.data.loader import _begin_worker

        before = gc.get_freeze_count()
        child = os.fork()
        if child == 0:
            gc.unfreeze()
            _begin_worker(0)
            os._exit(0 if gc.get_freeze_count() > 1000 and len(gc.get_objects()) < 1000 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert gc.get_freeze_count() == before

    def test_end_when_the_loader_is_closed(self, samples: ShardedSamples) -> None:
        before = set(multiprocessing.active_children())
        loader = batches(samples, workers=2)
        next(loader)
        workers = set(multiprocessing.active_children()) - before
        loader.close()
        assert len(workers) == 2
        assert not any(worker.is_alive() for worker in workers)

    @pytest.mark.parametrize(
        "end",
        [
            "sys.exit(3)",
            pytest.param("1 / 0", marks=pytest.mark.slow),
            pytest.param("loader.throw(ValueError('ten samples are damaged'))", marks=pytest.mark.slow),
        ],
    )
    def test_do_not_keep_a_process_that_exits(self, folder: Path, end: str) -> None:
        assert exit_code(run_until(end, folder)) in (1, 3)

    @pytest.mark.slow
    def test_end_when_the_training_process_is_killed(self, folder: Path) -> None:
        process = run_until("import time; time.sleep(600)", folder)
        process.kill()
        assert exit_code(process) == -signal.SIGKILL
