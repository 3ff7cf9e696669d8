"""Saves beside the training: steps go on, and what is on disk is as if they had waited."""

import fcntl
import io
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO, cast

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.data.batch import Batch
from cosmos.distributed.whereabouts import HERE
from cosmos.errors import Interrupted, OutOfMemoryError, SupersededError, TransientError
from cosmos.run.abandoned_files import temporary_path
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training import saving
from cosmos.training.checkpoint import TellingFile
from cosmos.training.saving import HostCopy
from cosmos.training.trainer import Trainer
from tests.training.examples import CPU, batches, make_trainer, params, random_batch

QUIET = params(log_every_steps=100)
"""Parameters of runs whose lines of metrics do not wait for the lock that a test holds."""

EVERY_TWO = Machine(checkpoint_every_steps=2, keep_checkpoints=9, data_wait_minutes=0)


class SlowDisk:
    """Lock of a run's lease: while it is held, a checkpoint is written, and gets its name later."""

    def __init__(self, run: RunDir) -> None:
        self.run, self.descriptor = run, -1

    def hold(self) -> None:
        self.descriptor = os.open(self.run.lease_lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        os.close(self.descriptor)


def with_events(events: dict[int, Callable[[], object]]) -> Iterator[Batch]:
    """Batches of six steps; as that of a step is asked for, in the step before, an event comes."""
    for step, batch in enumerate(batches(0), 1):
        events.get(step, lambda: None)()
        yield batch


def saved_steps(run: RunDir) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in run.checkpoints.glob("step-*.pt"))


def read(path: Path) -> dict[str, Any]:
    """Values of a checkpoint by their paths, without times and the name of the run."""
    values = leaves(torch.load(path, weights_only=True))
    return {key: value for key, value in values.items() if not key.endswith(("seconds", ".name"))}


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict | list):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {name: leaf for key, item in items for name, leaf in leaves(item, f"{path}.{key}").items()}


def are_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key] for key in a
    )


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return make_trainer(tmp_path / "run", QUIET, EVERY_TWO)


@pytest.fixture
def disk(trainer: Trainer) -> SlowDisk:
    return SlowDisk(trainer.run)


def test_a_copy_makes_the_file_that_the_state_itself_makes_in_the_same_memory_each_time(
    trainer: Trainer,
) -> None:
    content = trainer.checkpoint_content
    trainer.learner.step(random_batch(), 0.1, 0.9)
    copy, files = HostCopy(CPU.device), (io.BytesIO(), io.BytesIO())
    torch.save(content(), files[0])
    torch.save(copy.take(content()), files[1])
    assert files[0].getvalue() == files[1].getvalue()
    weights = copy.take(content())["student"]
    places = {name: weight.data_ptr() for name, weight in weights.items()}
    trainer.learner.step(random_batch(seed=1), 0.1, 0.9)
    assert not torch.equal(weights["visual.proj"], content()["student"]["visual.proj"])
    later = copy.take(content())["student"]
    assert {name: weight.data_ptr() for name, weight in later.items()} == places
    assert torch.equal(weights["visual.proj"], content()["student"]["visual.proj"])


def test_too_little_memory_for_a_copy_is_named() -> None:
    with pytest.raises(OutOfMemoryError, match="from which checkpoints are written, needs more memory"):
        HostCopy(CPU.device).take({"student": torch.empty(1 << 45, device="meta")})


def test_steps_go_on_during_a_save_which_holds_the_state_of_its_step(
    trainer: Trainer, disk: SlowDisk, tmp_path: Path
) -> None:
    seen = []

    def look() -> None:
        seen.append((trainer.step, saved_steps(trainer.run)))
        disk.release()

    trainer.train(with_events({2: disk.hold, 4: look}))
    assert seen == [(2, [])]  # in the third step, the save of the second one is under way
    assert saved_steps(trainer.run) == [2, 4, 6]
    for step in (2, 6):
        other = make_trainer(tmp_path / f"other{step}", QUIET, Machine())
        other.train(batches(0, step))
        assert are_equal(read(other.run.checkpoint(step)), read(trainer.run.checkpoint(step)))


def test_a_save_waits_for_the_one_before_and_says_so(
    trainer: Trainer, disk: SlowDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "WORTH_TELLING", 0.1)
    trainer.train(with_events({2: disk.hold, 4: Timer(0.3, disk.release).start}))
    assert saved_steps(trainer.run) == [2, 4, 6]
    assert "s for the checkpoint before" in caplog.text
    assert "COSMOS_CHECKPOINT_EVERY_MINUTES" in caplog.text


@pytest.mark.usefixtures("heeded")
def test_signals_during_a_save_leave_once_it_and_the_next_are_on_disk(
    trainer: Trainer, disk: SlowDisk
) -> None:
    def stop_twice() -> None:
        Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        Timer(0.2, disk.release).start()
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"stopped after step 3; .*step-00000003\.pt holds it all"):
        trainer.train(with_events({2: disk.hold, 4: stop_twice}))
    assert saved_steps(trainer.run) == [2, 3]


@pytest.mark.usefixtures("heeded")
def test_a_second_ctrl_c_takes_no_further_step_and_leaves_a_whole_checkpoint(
    trainer: Trainer, disk: SlowDisk
) -> None:
    def interrupt_twice() -> None:
        Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        Timer(0.2, disk.release).start()
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(with_events({2: disk.hold, 4: interrupt_twice}))
    assert saved_steps(trainer.run) == [2]
    assert not list(trainer.run.checkpoints.glob(".*"))


def fail() -> None:
    raise RuntimeError("a bug")


def test_an_error_in_a_step_leaves_once_the_save_is_on_disk(trainer: Trainer, disk: SlowDisk) -> None:
    def fail_soon() -> None:
        Timer(0.1, disk.release).start()
        fail()

    with pytest.raises(RuntimeError, match="a bug"):
        trainer.train(with_events({2: disk.hold, 4: fail_soon}))
    assert saved_steps(trainer.run) == [2]


# disks that fail: the file that a checkpoint is first written to leads elsewhere


def first_file(run: RunDir, step: int) -> Path:
    run.checkpoints.mkdir(exist_ok=True)
    return temporary_path(run.checkpoint(step))


def fill_disk(run: RunDir, step: int) -> None:
    first_file(run, step).symlink_to("/dev/full")


FULL = r"step-0{7}4\.pt: No space left on device; free space .*; step-0{7}2\.pt is kept, and the run goes on"


def test_a_full_disk_is_an_error_at_the_next_step_and_what_was_saved_stays(trainer: Trainer) -> None:
    run = trainer.run
    with pytest.raises(TransientError, match=FULL):
        trainer.train(with_events({3: lambda: fill_disk(run, 4), 6: lambda: time.sleep(0.1)}))
    assert trainer.step == 5
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000002.pt"]
    assert make_trainer(run.path, QUIET, EVERY_TWO).step == 2


def test_a_save_that_fails_beside_another_error_is_logged(
    trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="a bug"):
        trainer.train(with_events({2: lambda: fill_disk(trainer.run, 2), 4: fail}))
    assert "step-00000002.pt: No space left on device" in caplog.text


def test_a_save_during_which_another_takes_over_never_shows(trainer: Trainer) -> None:
    run = trainer.run

    def take_over() -> None:
        with first_file(run, 2).open("rb") as pipe:  # from here on the disk answers
            Lease.take(run)
            while pipe.read(1 << 20):
                pass

    with pytest.raises(SupersededError, match="took over this run"):
        trainer.train(with_events({2: lambda: os.mkfifo(first_file(run, 2)), 4: take_over}))
    assert not list(run.checkpoints.iterdir())


def test_each_write_of_a_save_shows_other_ranks_that_it_gets_on(tmp_path: Path) -> None:
    num_moves, content = HERE.num_moves, {"weights": [torch.ones(3), torch.ones(4)]}
    with (tmp_path / "a.pt").open("wb") as file:
        torch.save(content, cast(BinaryIO, TellingFile(file)))
    assert HERE.num_moves - num_moves > 2
    assert torch.equal(torch.load(tmp_path / "a.pt")["weights"][1], torch.ones(4))
