import time

import pytest

from cosmos.training.progress import Counters, StepPlan, Stopwatch, TrainingState


def test_each_second_counts_once_and_for_every_process_that_trained_then() -> None:
    counters = Counters(seconds=10.0, device_seconds=80.0)  # saved by eight
    started = time.perf_counter()
    watch = Stopwatch(counters, num_ranks=2)
    with watch.paused():
        time.sleep(0.05)
    passed = watch.finish_lap().seconds
    assert 0 < passed <= time.perf_counter() - started - 0.05
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
