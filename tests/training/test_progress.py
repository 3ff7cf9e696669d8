import time

import pytest

from cosmos.config.training_parts import TRAINING_PARTS
from cosmos.training.progress import (
    Counters,
    PaceEstimate,
    Stopwatch,
    TrainingState,
)
from cosmos.training.step_parts import HostStamps, StepParts


def test_each_second_counts_once_and_for_every_process_that_trained_then() -> None:
    counters = Counters(seconds=10.0, device_seconds=80.0)  # saved by eight
    started = time.perf_counter()
    parts = StepParts(HostStamps())
    watch = Stopwatch(counters, 2, parts)
    with watch.paused("saving"):
        time.sleep(0.05)
    passed = watch.finish_lap().seconds
    assert 0 < passed <= time.perf_counter() - started - 0.05
    parts.read()
    assert parts.times.finish_stretch().sums[TRAINING_PARTS.index("saving")] >= 0.05
    assert counters.seconds == pytest.approx(10 + passed)
    assert counters.device_seconds == pytest.approx(80 + 2 * passed)


def test_skipped_steps_in_a_row_are_counted_until_one_is_finite() -> None:
    state = TrainingState()
    for is_finite in (False, False, True, False):
        state.count_step(num_replaced=2, is_finite=is_finite)
    assert state == TrainingState(4, Counters(replaced_samples=8, skipped_steps=3, skipped_in_a_row=1))


def test_the_time_left_is_estimated_from_steps_after_the_first() -> None:
    fast, slow = PaceEstimate(), PaceEstimate()
    for step in range(21):
        assert not fast.is_known
        fast.add_step(60.0 + step / 2)  # the first one took a minute
    assert fast.describe(14_400) == "about 2 h 00 min left: 14,400 steps at 0.5 s each, without evaluations"
    for step in range(4):
        assert not slow.is_known
        slow.add_step(90.0 + 45 * step)
    assert slow.describe(1) == "about 45 s left: 1 step at 45 s each, without evaluations"
