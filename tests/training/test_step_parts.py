"""The clock of a training's parts, by a clock that the tests set, and in real steps."""

from contextlib import suppress
from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.config.training_parts import STEP_PARTS, TRAINING_PARTS, TrainingPart
from cosmos.run.metrics import read_metrics
from cosmos.run.step_trace import StepTrace
from cosmos.training.part_times import NEWEST_STEPS, PartTimes, RankTimes
from cosmos.training.step_parts import StepParts
from tests.training.examples import batches, make_learner, make_trainer, params, random_batch


class SetClock:
    """Clock that stands still until it is set; as of a GPU, a stamp can be read once it is reached."""

    def __init__(self) -> None:
        self.now = self.reached = 0.0
        self.reused: list[float] = []

    def pass_time(self, seconds: float) -> None:
        self.now = self.reached = self.now + seconds

    def take(self) -> float:
        return self.now

    def is_reached(self, stamp: float) -> bool:
        return stamp <= self.reached

    def seconds_between(self, earlier: float, later: float) -> float:
        return later - earlier

    def reuse(self, stamp: float) -> None:
        self.reused.append(stamp)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def take_parts(parts: StepParts, clock: SetClock, *turns: tuple[TrainingPart, float]) -> None:
    for part, seconds in turns:
        with parts.timed(part):
            clock.pass_time(seconds)


def seconds_of(parts: StepParts) -> dict[str, float]:
    """Sums by part since the last call, of parts that took any time."""
    parts.read()
    sums = parts.times.finish_stretch().sums
    return {part: seconds for part, seconds in zip(TRAINING_PARTS, sums, strict=True) if seconds}


def test_the_parts_of_a_step_add_up_to_its_time(clock: SetClock) -> None:
    parts = StepParts(clock)
    clock.pass_time(99)
    parts.restart(7)  # what was before is nobody's
    clock.pass_time(0.5)
    with parts.timed("forward"):
        clock.pass_time(1)
        take_parts(parts, clock, ("data", 2), ("transfer", 0.25))
        clock.pass_time(4)
    take_parts(parts, clock, ("update", 8))
    parts.end_step()
    assert (parts.step, clock.now - 99) == (9, 15.75)
    (step,) = parts.times.newest_steps()
    assert {part: seconds for part, seconds in step.items() if seconds} == {
        **{"rest": 0.5, "forward": 5, "data": 2, "transfer": 0.25, "update": 8}
    }
    assert sum(seconds_of(parts).values()) == 15.75


def test_ranks_exchange_gradients_from_the_last_one_on(clock: SetClock) -> None:
    parts = StepParts(clock)
    for gradients in (3, 0):
        with parts.timed_backward():
            for _ in range(gradients):
                clock.pass_time(1)
                parts.note_gradient()
            clock.pass_time(0.5)
        clock.pass_time(0.125)
    assert seconds_of(parts) == {"backward": 3.5, "gradients": 0.5, "rest": 0.125}
    with suppress(ZeroDivisionError), parts.timed_backward():
        parts.note_gradient()
        raise ZeroDivisionError
    take_parts(parts, clock, ("update", 1))
    assert seconds_of(parts) == {"rest": 0.125, "update": 1}


def test_what_a_device_has_not_reached_counts_later_and_is_not_waited_for(clock: SetClock) -> None:
    parts = StepParts(clock)
    take_parts(parts, clock, ("forward", 1))
    clock.now += 1  # the device is behind
    take_parts(parts, clock, ("update", 0))
    clock.reached = 1.5
    parts.end_step()
    assert (seconds_of(parts), parts.times.newest_steps()) == ({"forward": 1}, [])
    take_parts(parts, clock, ("data", 2))
    assert seconds_of(parts) == {"rest": 1, "data": 2}
    assert len(parts.times.newest_steps()) == 1
    assert len(clock.reused) == 8 - 1  # each stamp but the newest can be taken again


def test_a_rank_keeps_its_newest_steps_their_quantiles_and_the_slowest_one(clock: SetClock) -> None:
    parts = StepParts(clock)
    for step in range(1, 2 * NEWEST_STEPS + 1):
        take_parts(parts, clock, ("forward", 1), ("data", 10 if step % 10 == 0 else 0), ("saving", 100))
        parts.end_step()
    assert len(parts.times.newest_steps()) == NEWEST_STEPS
    times = RankTimes.of_row(parts.times.finish_stretch().as_row())
    by_part = dict(zip(TRAINING_PARTS, zip(times.medians, times.p95s, strict=True), strict=True))
    assert (by_part["forward"], by_part["data"]) == ((1, 1), (0, 10))
    slow = times.slowest
    assert (slow.step, slow.seconds, slow.part, slow.part_seconds) == (10, 11, "data", 10)  # without saves
    assert PartTimes().finish_stretch().slowest.step == 0


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_step_has_all_parts_of_a_rank_that_is_alone(micro_batches: int) -> None:
    learner = make_learner(params(), Machine(micro_batches=micro_batches))
    for seed in range(2):
        learner.step(random_batch(seed=seed), 1e-3, 0.9)
    steps = learner.parts.times.newest_steps()
    assert [{part for part in STEP_PARTS if not step[part]} for step in steps] == [{"data", "gradients"}] * 2


def test_a_run_keeps_the_time_of_its_parts_over_all_of_its_sessions(tmp_path: Path) -> None:
    p = params(log_every_steps=2, evaluate_every_epochs=1)
    make_trainer(tmp_path, p).train(batches(0, 5))
    make_trainer(tmp_path, p).train(batches(5))
    first, second = StepTrace.of(tmp_path / "timing.jsonl").sessions
    assert [(part.step, part.steps) for part in first.stretches] == [(2, 2), (4, 2), (5, 0)]
    assert [(part.step, part.steps) for part in second.stretches] == [(6, 1), (6, 0)]
    assert (second.session.steps_before, second.session.device, len(second.session.hosts)) == (5, "cpu", 1)
    assert "evaluating" in second.stretches[-1].seconds
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    for line in lines:
        shares = [value for key, value in line.items() if key.startswith("time/")]
        assert sum(shares) + line["data_wait"] == pytest.approx(1)
    counted = sum(
        times[0]
        for part in [*first.stretches, *second.stretches[:-1]]
        for name, times in part.seconds.items()
        if name not in ("saving", "evaluating")
    )
    assert counted == pytest.approx(lines[-1]["seconds"], rel=0.05, abs=0.05)
