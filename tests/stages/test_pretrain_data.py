"""Data of a run: decided once, by the first rank, and kept by later sessions and the other ranks."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Timer

import pytest

from cosmos.config.machine import Machine
from cosmos.config.params import Params, PretrainParams
from cosmos.data.batch import Batch
from cosmos.data.manifest import Manifest
from cosmos.data.readable import ReadableSamples
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.distributed.exchange import on_each_rank
from cosmos.distributed.group import process_group
from cosmos.errors import CosmosError, DamagedDataError, InputError, Interrupted, TransientError
from cosmos.run.directory import RunDir
from cosmos.stages.pretrain_data import confirm_data, open_data
from cosmos.training.opening import open_training
from tests.data.examples import samples
from tests.forks import run_ranks
from tests.training.examples import CPU, LIMIT, PLAN, make_learner, no_figures, no_job, params, random_batch

DOING_WITHOUT = Params(pretrain=PretrainParams(batch_size=2, max_damaged=0.4))


def write_split(folder: Path) -> ShardedSamples:
    """Write three shards of two samples each."""
    shards = [write_shard(folder / f"{name}.tar", samples(2)) for name in "abc"]
    Manifest("captions", tuple(shards), (), {}).write(folder)
    return ShardedSamples(folder, Machine())


@pytest.fixture
def split(tmp_path: Path) -> ShardedSamples:
    return write_split(tmp_path / "data")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def begin(run: RunDir, split: ShardedSamples, missing: str = "") -> ReadableSamples:
    """Begin a run, of which a checkpoint is saved, without a shard that is missing at its start."""
    if missing:
        (split.folder / f"{missing}.tar").rename(split.folder / f"{missing}.away")
    data = open_data(run, split, DOING_WITHOUT, Machine())
    run.checkpoints.mkdir()
    run.checkpoint(3).touch()
    return data


def test_shards_that_are_missing_at_the_start_are_recorded(run: RunDir, split: ShardedSamples) -> None:
    assert begin(run, split, "b").order.shards == (range(2), range(4, 6))
    left_out = [{"shard": "b.tar", "num_samples": 2, "problem": "no such file"}]
    assert json.loads(run.data.read_text()) == {"num_samples": 6, "left_out": left_out}


def test_a_resume_keeps_the_order_although_a_shard_is_back(run: RunDir, split: ShardedSamples) -> None:
    begun = begin(run, split, "b")
    (split.folder / "b.away").rename(split.folder / "b.tar")
    resumed = open_data(run, split, DOING_WITHOUT, Machine())
    assert resumed.order.shards == begun.order.shards
    assert resumed.limit == begun.limit
    confirm_data(resumed, CPU, Machine(data_wait_minutes=0))


def test_a_run_that_has_trained_nothing_yet_takes_a_shard_that_is_back(
    run: RunDir, split: ShardedSamples
) -> None:
    begin(run, split, "b")
    run.checkpoint(3).unlink()
    (split.folder / "b.away").rename(split.folder / "b.tar")
    assert open_data(run, split, DOING_WITHOUT, Machine()).order.num_samples == 6


def test_a_resume_without_a_shard_that_was_there_stops_rather_than_reorder(
    run: RunDir, split: ShardedSamples
) -> None:
    begin(run, split)
    (split.folder / "c.tar").unlink()
    data = open_data(run, split, DOING_WITHOUT, Machine())
    assert data.order.num_samples == 6
    with pytest.raises(
        TransientError, match=r"data: not as it was when this run began: c\.tar: no such file"
    ):
        confirm_data(data, CPU, Machine(data_wait_minutes=0))


def test_a_resume_waits_for_a_shard_that_comes_back(run: RunDir, split: ShardedSamples) -> None:
    begin(run, split)
    shard = split.folder / "c.tar"
    shard.rename(split.folder / "c.away")
    Timer(0.2, (split.folder / "c.away").rename, [shard]).start()
    confirm_data(open_data(run, split, DOING_WITHOUT, Machine()), CPU, Machine(data_wait_minutes=1))


def test_a_request_to_stop_ends_the_wait_for_data_at_once(run: RunDir, split: ShardedSamples) -> None:
    begin(run, split)
    (split.folder / "c.tar").unlink()
    data = open_data(run, split, DOING_WITHOUT, Machine())
    Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted, match="stopped before data could be read"):
            confirm_data(data, CPU, Machine(data_wait_minutes=1))
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_storage_that_fails_at_the_start_is_waited_for(
    run: RunDir, split: ShardedSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [TransientError("http://host/c.tar: 503"), TransientError("http://host/c.tar: 503")]

    def damaged(samples: ShardedSamples) -> tuple[()]:
        if answers:
            raise answers.pop()
        return ()

    monkeypatch.setattr(ShardedSamples, "damaged_shards", damaged)
    assert open_data(run, split, DOING_WITHOUT, Machine(data_wait_minutes=1)).order.num_samples == 6


def test_a_resume_on_other_data_is_refused(run: RunDir, split: ShardedSamples, tmp_path: Path) -> None:
    begin(run, split)
    other = tmp_path / "other"
    Manifest("captions", (write_shard(other / "a.tar", samples(3)),), (), {}).write(other)
    with pytest.raises(InputError, match=r"data\.json: .* begun on 6 samples, .*other holds 3 others"):
        open_data(run, ShardedSamples(other, Machine()), DOING_WITHOUT, Machine())


def test_too_much_damage_stops_before_anything_is_recorded(run: RunDir, split: ShardedSamples) -> None:
    (split.folder / "b.tar").unlink()
    with pytest.raises(DamagedDataError, match=r"2 of 6 samples .*b\.tar"):
        open_data(run, split, Params(), Machine())
    assert not run.data.exists()


def meet_absence(rank: int, folder: Path) -> None:
    """Open data that the second rank sees less of; then train while the second rank's loader fails."""
    with process_group("cpu", timedelta(minutes=5)) as process:
        split = ShardedSamples(folder / str(rank), Machine())
        data = open_data(RunDir(folder / "run"), split, DOING_WITHOUT, Machine())
        note(folder / f"shard-{rank}.txt", lambda: confirm_data(data, process, Machine()))

        def failing() -> Iterator[Batch]:
            yield from (random_batch(seed=step).split(2)[rank] for step in range(2))
            if rank == 1:
                raise TransientError("c.tar: Stale file handle")
            yield random_batch().split(2)[rank]

        learner = make_learner(params(), Machine(), process)
        run = RunDir(folder / "trained")
        trainer = open_training(run, learner, PLAN, Machine(), no_figures, no_job, LIMIT)
        note(folder / f"loader-{rank}.txt", lambda: trainer.train(failing()))
        assert on_each_rank(lambda: run.checkpoint(2).exists())


def note(path: Path, call: Callable[[], object]) -> None:
    """Write the error of a call and the seconds until it came."""
    started = time.monotonic()
    try:
        call()
    except CosmosError as error:
        path.write_text(f"{time.monotonic() - started:.1f} {type(error).__name__} {error}")


@pytest.mark.slow
def test_what_one_rank_alone_cannot_read_is_an_error_on_all_within_seconds(tmp_path: Path) -> None:
    write_split(tmp_path / "0")
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    (tmp_path / "1" / "b.tar").unlink()
    run_ranks(meet_absence, tmp_path)
    for case, message in (
        (
            "shard",
            f"TransientError rank 1 on {socket.gethostname()} does not see the data that the first rank",
        ),
        ("loader", "TransientError c.tar: Stale file handle"),
    ):
        for rank in (0, 1):
            seconds, said = (tmp_path / f"{case}-{rank}.txt").read_text().split(" ", 1)
            assert float(seconds) < 20
            assert said.startswith(message)
            assert case == "loader" or "b.tar: no such file" in said
