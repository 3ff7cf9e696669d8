"""Batches that cannot be had, and damage, as the training loop meets them."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from cosmos.data.batch import Batch
from cosmos.data.shards.damage import SampleDamage
from cosmos.errors import DamagedDataError, Interrupted, TransientError
from cosmos.run.metrics import read_metrics
from tests.training.examples import batches, make_trainer, params


def failing_after(steps: int) -> Iterator[Batch]:
    yield from batches(0, steps)
    raise TransientError("a.tar: no such file")


def hanging_after(steps: int) -> Iterator[Batch]:
    """Batches; SIGTERM comes in the wait for the one after `steps` steps."""
    yield from batches(0, steps)
    Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    time.sleep(60)


def damaged(*numbers: int) -> tuple[SampleDamage, ...]:
    return tuple(SampleDamage(number, f"a.tar: sample {number}: broken") for number in numbers)


def with_damage(steps: Iterable[Iterable[int]]) -> Iterator[Batch]:
    for batch, numbers in zip(batches(0), steps, strict=True):
        yield replace(batch, damage=damaged(*numbers))


def test_data_that_cannot_be_had_stops_the_run_with_all_steps_saved(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"a\.tar: no such file"):
        make_trainer(tmp_path, params()).train(failing_after(3))
    assert make_trainer(tmp_path, params()).step == 3


def test_data_that_cannot_be_had_for_the_first_step_stops_before_it(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        make_trainer(tmp_path, params()).train(failing_after(0))
    assert not read_metrics(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize(("steps", "message"), [(3, "stopped after step 3"), (0, "before the first step")])
def test_a_signal_ends_a_wait_for_data_at_once_and_saves(
    tmp_path: Path, heeded: None, steps: int, message: str
) -> None:
    started = time.monotonic()
    with pytest.raises(Interrupted, match=message) as stop:
        make_trainer(tmp_path, params()).train(hanging_after(steps))
    assert stop.value.signal == signal.SIGTERM
    assert time.monotonic() - started < 20
    assert make_trainer(tmp_path, params()).step == steps


def test_a_damaged_sample_counts_once_however_often_and_after_a_resume(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(with_damage([[7], [], [7, 9], [7], [], []]))
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert (last["replaced_samples"], last["damaged_samples"]) == (4, 2)
    assert (last["samples_listed"], last["samples_used"]) == (30, 28)
    (tmp_path / "checkpoints" / "step-00000006.pt").unlink()
    resumed = make_trainer(tmp_path, params())
    resumed.train(replace(batch, damage=damaged(7, 8)) for batch in batches(4))
    assert resumed.state.damaged == {7, 8, 9}


def test_more_damage_than_allowed_stops_before_the_step_on_it_with_all_saved(tmp_path: Path) -> None:
    with pytest.raises(DamagedDataError) as error:
        make_trainer(tmp_path, params()).train(with_damage([[1], [1, 2], [3], [4], [], []]))
    assert "data: 4 of 30 samples cannot be used, more than pretrain.max_damaged allows (0.1)" in str(
        error.value
    )
    assert "a.tar: sample 4: broken; delete the shards" in str(error.value)
    mended = make_trainer(tmp_path, params())
    assert (mended.step, sorted(mended.state.damaged)) == (3, [1, 2, 3])
    mended.train(batches(3))
