import pytest

from cosmos.training.progress import Counters, StepPlan, TrainingState


@pytest.mark.parametrize(
    ("step", "every_epochs", "is_due"),
    [(0, 1, False), (3, 1, True), (4, 1, False), (3, 2, False), (6, 2, True), (6, 0, False)],
)
def test_an_evaluation_is_due_at_the_end_of_every_so_many_epochs(
    step: int, every_epochs: int, is_due: bool
) -> None:
    plan = StepPlan.of(steps_per_epoch=3, epochs=4)
    assert plan.total_steps == 12
    assert plan.is_evaluation_due(step, every_epochs) is is_due


def test_skipped_steps_in_a_row_are_counted_until_one_is_finite() -> None:
    state = TrainingState()
    for is_finite in (False, False, True, False):
        state.count_step(num_replaced=2, is_finite=is_finite)
    assert state == TrainingState(4, Counters(0.0, 8, 3, 1))
