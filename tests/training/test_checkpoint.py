"""Checkpoints of runs: which ones stay, which one a run goes on from."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.errors import InputError, SupersededError, TransientError
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training import checkpoint
from cosmos.training.saved_state import read_counters, resume_learner
from tests.training.examples import (
    batches,
    make_trainer,
    params,
)


def test_old_checkpoints_go_and_the_newest_stay(tmp_path: Path) -> None:
    machine = Machine(checkpoint_every_steps=1, keep_checkpoints=2)
    make_trainer(tmp_path, params(), machine).train(batches(0))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000005.pt", "step-00000006.pt"]


def test_a_run_from_before_with_a_pointer_to_its_newest_checkpoint_goes_on(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0, 3))
    (tmp_path / "checkpoints" / "latest").write_text("step-00000003.pt\n")
    trainer = make_trainer(tmp_path, params())
    assert trainer.step == 3
    trainer.train(batches(3))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    (tmp_path / "checkpoints" / "step-00000006.pt").write_bytes(b"half")
    assert make_trainer(tmp_path, params()).step == 4


def test_a_checkpoint_that_cannot_be_read_for_now_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(tmp_path, params()).train(batches(0))

    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(TransientError, match=r"step-00000006\.pt: cannot be read"):
        make_trainer(tmp_path, params())


def test_the_optimiser_and_random_state_come_back(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, params())
    trainer.train(batches(0))
    expected = torch.rand(3)
    torch.manual_seed(123)
    newest = checkpoint.newest_whole_checkpoint(RunDir(tmp_path))
    assert newest is not None
    resume_learner(trainer.learner, newest)
    assert torch.equal(torch.rand(3), expected)


def test_halves_of_checkpoints_from_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    half = tmp_path / "checkpoints" / ".step-00000002.pt.node0.12.tmp"
    half.write_bytes(b"half")
    make_trainer(tmp_path, params())
    assert not half.exists()


def test_a_checkpoint_that_goes_as_the_run_is_opened_is_a_transient_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    read = torch.load

    def remove_and_read(path: Path, **options: Any) -> object:
        path.unlink()
        return read(path, **options)

    monkeypatch.setattr(torch, "load", remove_and_read)
    with pytest.raises(TransientError, match=r"step-0000000\d\.pt: gone"):
        make_trainer(tmp_path, params())


def test_a_checkpoint_without_the_state_of_a_training_is_refused_by_name(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    newest = tmp_path / "checkpoints" / "step-00000006.pt"
    content = torch.load(newest, weights_only=True)
    del content["optimizer"]
    torch.save(content, newest)
    with pytest.raises(InputError, match=r"step-00000006\.pt: holds no training .*'optimizer'"):
        make_trainer(tmp_path, params())


def test_the_progress_of_an_older_checkpoint_was_made_by_as_many_processes() -> None:
    assert read_counters({"seconds": 3.0, "skipped_steps": 1}, 2).device_seconds == 6.0
    assert read_counters({"seconds": 3.0, "device_seconds": 24.0}, 2).device_seconds == 24.0


def test_a_partial_checkpoint_that_the_next_process_removes_is_no_fault_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path, params())
    sync = os.fsync

    def lose_run(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        checkpoint.remove_leftovers(Lease.take(RunDir(tmp_path)))

    monkeypatch.setattr(os, "fsync", lose_run)
    trainer.state.step = 1
    with pytest.raises(SupersededError, match="took over this run"):
        trainer.save()
