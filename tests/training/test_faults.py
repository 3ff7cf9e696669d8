"""Faults of a run's files: damaged, away and lost ones are told apart, and what was trained stays."""

import errno
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.data.batch import Batch
from cosmos.errors import CosmosError, DamagedDataError, InputError, SupersededError, TransientError
from cosmos.model.checkpoints import read_checkpoint
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training.checkpoint import newest_whole_checkpoint
from tests.crash_points import killed_at_each_operation
from tests.training.examples import batches, make_trainer, params, weights

EVERY_STEP = Machine(checkpoint_every_steps=1, keep_checkpoints=3, data_wait_minutes=0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of three steps, each of which is saved."""
    make_trainer(tmp_path / "run", params(), EVERY_STEP).train(batches(0, 3))
    return RunDir(tmp_path / "run")


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def logged_steps(run: RunDir) -> list[int]:
    return [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()]


def flip_bit(path: Path) -> None:
    """Flip a bit of the largest tensor."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.read(max(archive.infolist(), key=lambda member: member.file_size))
    content[content.index(member) + len(member) // 2] ^= 1
    path.write_bytes(content)


def change(path: Path, **values: object) -> None:
    """Write a checkpoint with other values; those that are None are left out."""
    content = {**torch.load(path, weights_only=True), **values}
    torch.save({key: value for key, value in content.items() if value is not None}, path)


# damage


def test_a_flipped_bit_is_passed_over_and_the_file_stays_until_it_is_written_again(run: RunDir) -> None:
    flip_bit(run.checkpoint(3))
    trainer = make_trainer(run.path, params(), EVERY_STEP)
    assert trainer.step == 2
    trainer.train(batches(2, 6))
    assert names(run) == [run.checkpoint(step).name for step in (4, 5, 6)]


def test_damaged_files_count_for_nothing_where_old_checkpoints_are_removed(run: RunDir) -> None:
    for step in (4, 5, 6):
        shutil.copy(run.checkpoint(3), run.checkpoint(step))
        flip_bit(run.checkpoint(step))
    make_trainer(run.path, params(), EVERY_STEP.model_copy(update={"keep_checkpoints": 1})).train(
        batches(3, 4)
    )
    assert names(run) == [run.checkpoint(step).name for step in (4, 5, 6)]
    assert newest_whole_checkpoint(run) is not None
    assert make_trainer(run.path, params(), EVERY_STEP).step == 4


def test_an_old_damaged_file_is_not_removed_as_one_that_is_not_needed(run: RunDir) -> None:
    flip_bit(run.checkpoint(1))
    make_trainer(run.path, params(), EVERY_STEP.model_copy(update={"keep_checkpoints": 1})).train(batches(3))
    assert names(run) == [run.checkpoint(step).name for step in (1, 6)]


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_again(run: RunDir) -> None:
    for path in run.saved_checkpoints:
        flip_bit(path)
    before = names(run)
    with pytest.raises(
        DamagedDataError, match=r"step-00000003\.pt, step-00000002\.pt, .*: damaged.* move them"
    ):
        make_trainer(run.path, params(), EVERY_STEP)
    assert names(run) == before
    for path in run.saved_checkpoints:
        path.unlink()
    assert make_trainer(run.path, params(), EVERY_STEP).step == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_one_error_of_the_disk_is_waited_for(
    run: RunDir, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing_once(monkeypatch, Path, "open", lambda path: path.name.startswith("step-"), number)
    failing_once(monkeypatch, torch, "load", lambda path: True, number)
    with caplog.at_level(logging.WARNING):
        assert make_trainer(run.path, params(), Machine()).step == 3
    assert "passing over" not in caplog.text


def failing_once(
    patch: pytest.MonkeyPatch, owner: Any, name: str, concerns: Callable[[Path], bool], number: int
) -> None:
    """Have the first call of a function that concerns the path fail."""
    original, left = getattr(owner, name), [1]

    def call(path: Path, *args: Any, **options: Any) -> Any:
        if concerns(path) and left:
            raise OSError(left.pop() and number, os.strerror(number), str(path))
        return original(path, *args, **options)

    patch.setattr(owner, name, call)


def test_a_folder_of_checkpoints_that_cannot_be_listed_is_none_without_checkpoints(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(CosmosError, match="Permission denied"):
        make_trainer(run.path, params(), EVERY_STEP)


# other contents


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def doubled(times: int) -> list[object]:
    """A value that is small in a file, and 2 ** times values long to whoever walks through it."""
    value: list[object] = []
    for _ in range(times):
        value = [value, value]
    return value


HUGE = torch.zeros(1).expand(10**12)
HUGE_NUMBERS = torch.zeros(1, dtype=torch.int64).expand(10**12)
TEXT: list[object] = [
    "text",
    [],
    {"seconds": "x"},
    nested(100),
    doubled(60),
    HUGE,
    HUGE_NUMBERS,
    torch.zeros(2, 2),
]
ODD: dict[str, list[object]] = {
    "progress": [None, 3, {}, *TEXT],
    "optimizer": [None, 3, {}, {"param_groups": doubled(60), "state": {}}, *TEXT],
    "rng": [None, 3, {}, {"cpu": HUGE}, {"cpu": torch.zeros(3, dtype=torch.uint8)}, *TEXT],
    "scaler": [None, 3, {"scale": 1.0}, *TEXT],
    "step": [None, -1, 10**30, *TEXT],
    "damaged": [3, {}, *TEXT],
}


@pytest.mark.parametrize("key", ODD)
def test_other_values_of_a_training_are_refused_in_a_line(run: RunDir, key: str) -> None:
    whole = run.checkpoint(3).read_bytes()
    for value in ODD[key]:
        change(run.checkpoint(3), **{key: value})
        with pytest.raises(
            InputError, match=r"step-00000003\.pt: (holds no training|holds step|of step)"
        ) as error:
            make_trainer(run.path, params(), EVERY_STEP)
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 400
        run.checkpoint(3).write_bytes(whole)


def test_moments_of_another_optimiser_are_refused(run: RunDir) -> None:
    saved = torch.load(run.checkpoint(3), weights_only=True)["optimizer"]
    moments = saved["state"]
    wrong: list[object] = [
        {},
        {999: moments[0]},
        {"a": moments[0]},
        {0: 3},
        {0: {**moments[0], "exp_avg": HUGE}},
        {0: {**moments[0], "exp_avg": torch.zeros(3, dtype=torch.int64)}},
        {0: {**moments[0], "exp_avg": "text"}},
        {0: {"step": moments[0]["step"]}},
    ]
    for state in wrong:
        change(run.checkpoint(3), optimizer={**saved, "state": state})
        with pytest.raises(InputError, match=r"step-00000003\.pt: holds no training"):
            make_trainer(run.path, params(), EVERY_STEP)


def test_weights_that_are_no_plain_tensors_are_refused(run: RunDir) -> None:
    student = torch.load(run.checkpoint(3), weights_only=True)["student"]
    name = "visual.proj"
    sparse, meta = student[name].to_sparse(), student[name].to("meta")
    for value in (sparse, meta, torch.zeros(1).expand(10**12), student[name].to(torch.float8_e4m3fn)):
        change(run.checkpoint(3), student={**student, name: value})
        with pytest.raises(InputError, match=r"student does not fit the model .*visual\.proj"):
            make_trainer(run.path, params(), EVERY_STEP)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("vision", "width", 8 * 10**6), ("text", "vocab_size", 10**12), ("text", "layers", 10**9)],
)
def test_a_model_larger_than_its_file_is_refused_before_it_is_made(
    run: RunDir, part: str, name: str, value: int
) -> None:
    config = torch.load(run.checkpoint(3), weights_only=True)["config"]
    config["model"]["inline"][part][name] = value
    change(run.checkpoint(3), config=config)
    checkpoint = read_checkpoint(run.checkpoint(3))
    assert checkpoint.config is not None
    with pytest.raises(
        InputError, match=r"step-00000003\.pt: (student does not fit|its `config` names more layers)"
    ):
        checkpoint.load("student", checkpoint.config)


# a run that is lost while it trains


def delete(run: RunDir) -> None:
    while run.path.exists():  # training may write into the folder while it is being emptied
        shutil.rmtree(run.path, ignore_errors=True)


def rename(run: RunDir) -> None:
    run.path.rename(run.path.with_name("moved"))


def delete_checkpoints(run: RunDir) -> None:
    shutil.rmtree(run.checkpoints)


def replace_checkpoints(run: RunDir) -> None:
    shutil.rmtree(run.checkpoints)
    run.checkpoints.touch()


def damage_lease(run: RunDir) -> None:
    run.lease.write_text("{")


def give_lease_other_types(run: RunDir) -> None:
    run.lease.write_text('{"token": 1, "host": [], "pid": "x", "since": null, "job": 3}')


LOST: dict[Callable[[RunDir], None], tuple[type[CosmosError], str]] = {
    delete: (SupersededError, r"writer\.json is gone: the run was deleted or moved"),
    rename: (SupersededError, r"writer\.json is gone: the run was deleted or moved"),
    replace_checkpoints: (InputError, r"checkpoints"),
    damage_lease: (DamagedDataError, r"writer\.json: not a lease .*; delete it"),
    give_lease_other_types: (DamagedDataError, r"writer\.json: not a lease .*token.*; delete it"),
}


@pytest.mark.parametrize("is_inside", [False, True], ids=["between steps", "inside a save"])
@pytest.mark.parametrize("lose", LOST)
def test_a_run_that_is_lost_while_it_trains_is_named_as_that(
    run: RunDir, lose: Callable[[RunDir], None], is_inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, message = LOST[lose]
    trainer, save = make_trainer(run.path, params(), EVERY_STEP), torch.save

    def mine() -> Iterator[Batch]:
        for step, batch in enumerate(batches(3)):
            if step == 1 and not is_inside:
                lose(run)
            yield batch

    def save_and_lose(content: object, file: Any) -> None:
        save(content, file)
        lose(run)

    if is_inside:
        monkeypatch.setattr(torch, "save", save_and_lose)
    with pytest.raises(kind, match=message) as error:
        trainer.train(mine())
    assert "room" not in str(error.value)
    if not run.lease.exists():
        assert not run.path.exists()


def test_a_file_in_the_place_of_the_checkpoints_is_no_run_without_any(run: RunDir) -> None:
    replace_checkpoints(run)
    with pytest.raises(
        InputError, match="checkpoints: a file in the place of the run's checkpoints; move it"
    ):
        make_trainer(run.path, params(), EVERY_STEP)


def test_a_run_whose_checkpoints_were_deleted_saves_again(run: RunDir) -> None:
    trainer = make_trainer(run.path, params(), EVERY_STEP)
    delete_checkpoints(run)
    trainer.train(batches(3))
    assert names(run) == [run.checkpoint(step).name for step in (4, 5, 6)]


# kills


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_operation_of_a_step_and_its_save_goes_on(
    run: RunDir, tmp_path: Path
) -> None:
    begun, machine = tmp_path / "begun", EVERY_STEP.model_copy(update={"keep_checkpoints": 2})
    shutil.copytree(run.path, begun)
    make_trainer(run.path, params(), machine).train(batches(3, 5))
    expected = weights(run.checkpoint(5))
    shutil.rmtree(run.path)
    shutil.copytree(begun, run.path)

    def train_two_steps() -> None:
        make_trainer(run.path, params(), machine).train(batches(3, 5))

    num_points = 0
    for _ in killed_at_each_operation(train_two_steps, run.path):
        num_points += 1
        saved = newest_whole_checkpoint(run)
        assert saved is not None
        trainer = make_trainer(run.path, params(), machine)
        assert trainer.step == saved.extra["step"] >= 3
        assert not [path for path in run.path.rglob("*") if "step-" in path.name and path.suffix == ".tmp"]
        trainer.train(batches(trainer.step, 5))
        assert logged_steps(run) == [1, 2, 3, 4, 5]
        ended = weights(run.checkpoint(5))
        assert all(torch.equal(ended[name], expected[name]) for name in expected)
        assert names(run)[-2:] == [run.checkpoint(step).name for step in (4, 5)]
        shutil.rmtree(run.path)
        shutil.copytree(begun, run.path)
    assert num_points > 15


def test_leftovers_of_every_host_and_version_go_when_a_run_is_opened(run: RunDir) -> None:
    for name in (
        ".step-00000004.pt.node0.12.tmp",
        "..step-00000004.pt.node0.12.tmp.node0.12.tmp",
        ".step-00000004.pt.cosmos.node0.12.tmp",
    ):
        (run.checkpoints / name).touch()
    old, new = run.path / ".metrics.jsonl.cosmos.node0.12.tmp", run.path / ".labels.json.cosmos.node0.13.tmp"
    old.touch()
    os.utime(old, (1000, 1000))
    new.touch()
    Lease.take(run)
    make_trainer(run.path, params(), EVERY_STEP)
    assert names(run) == [run.checkpoint(step).name for step in (1, 2, 3)]
    assert [path.name for path in run.path.glob(".*.tmp")] == [new.name]


def test_a_failing_disk_is_named_in_place_of_the_lease_that_cannot_be_read_either(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(run.path, params(), EVERY_STEP)

    def fail(content: object, file: Any) -> None:
        monkeypatch.setattr(Path, "read_bytes", lambda path: fail(None, None))
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "save", fail)
    trainer.state.step = 4
    with pytest.raises(TransientError, match=r"step-00000004\.pt: .*Input/output error"):
        trainer.save()
