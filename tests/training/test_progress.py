import time

import pytest

from cosmos.config.params import PretrainParams
from cosmos.config.training_parts import TRAINING_PARTS
from cosmos.training.progress import (
    Counters,
    PaceEstimate,
    StepPlan,
    Stopwatch,
    TrainingState,
    describe_plan,
    plan_warnings,
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


@pytest.mark.parametrize(
    ("step", "every_epochs", "is_due"),
    [(0, 1, False), (3, 1, True), (4, 1, False), (3, 2, False), (6, 2, True), (6, 0, False)],
)
def test_an_evaluation_is_due_at_the_end_of_every_so_many_epochs(
    step: int, every_epochs: int, is_due: bool
) -> None:
    plan = StepPlan.of(steps_per_epoch=3, epochs=4)
    assert [StepPlan.of(3, 4, until).last_step for until in (0, 1, 3, 4, 5)] == [12, 3, 9, 12, 12]
    assert plan.total_steps == 12
    assert plan.is_evaluation_due(step, every_epochs) is is_due


def test_skipped_steps_in_a_row_are_counted_until_one_is_finite() -> None:
    state = TrainingState()
    for is_finite in (False, False, True, False):
        state.count_step(num_replaced=2, is_finite=is_finite)
    assert state == TrainingState(4, Counters(replaced_samples=8, skipped_steps=3, skipped_in_a_row=1))


def test_a_plan_says_steps_warm_up_and_the_samples_that_an_epoch_leaves_out() -> None:
    photographs = PretrainParams(batch_size=32, warmup_steps=20)
    assert describe_plan(StepPlan.of(1, 3), 50, photographs) == (
        "3 steps of 32 samples; 3 epochs of 1 step; warm-up: 20 steps; "
        "each epoch leaves out 18 of 50 samples, others each time"
    )
    assert describe_plan(StepPlan.of(1, 1), 50, photographs).endswith("no step sees 18 of 50 samples")
    assert describe_plan(StepPlan.of(62, 3), 1984, photographs) == (
        "186 steps of 32 samples; 3 epochs of 62 steps; warm-up: 20 steps"
    )


def test_what_hardly_anybody_means_is_warned_of_with_what_would_do() -> None:
    few = PretrainParams(batch_size=32, warmup_steps=20)
    assert list(plan_warnings(StepPlan.of(1, 3), 50, few)) == [
        "pretrain.warmup_steps: 20, and the run has 3 steps: the learning rate ends at 15.0% of "
        "pretrain.learning_rate, and never falls; lower it, or train longer",
        "pretrain.batch_size: 32 leaves out 18 of 50 samples in each epoch; 25 would leave out none",
    ]
    assert list(plan_warnings(StepPlan.of(62, 3), 2000, few)) == []


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
