import pytest

from cosmos.config.params import PretrainParams
from cosmos.training.step_plan import StepPlan, describe_plan


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
