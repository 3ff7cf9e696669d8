from hypothesis import given
from hypothesis import strategies as st

from cosmos.config.params import PretrainParams
from cosmos.training.schedules import learning_rate, momentum

PARAMS = PretrainParams(learning_rate=1.0, warmup_steps=4, momentum=0.9, momentum_schedule="cosine")


def test_warm_up_is_linear_from_the_first_step() -> None:
    assert [learning_rate(step, 100, PARAMS) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


@given(st.integers(5, 99))
def test_after_warm_up_the_rate_only_falls(step: int) -> None:
    assert 0 < learning_rate(step, 100, PARAMS) < learning_rate(step - 1, 100, PARAMS) <= 1


def test_training_shorter_than_its_warm_up_never_divides_by_zero() -> None:
    assert learning_rate(1, 2, PARAMS) == 0.5
    assert learning_rate(4, 4, PARAMS) == 1.0


@given(st.integers(1, 99))
def test_cosine_momentum_only_rises_towards_one(step: int) -> None:
    assert 0.9 <= momentum(step - 1, 100, PARAMS) < momentum(step, 100, PARAMS) < 1


def test_fixed_momentum_stays() -> None:
    fixed = PretrainParams(momentum=0.999)
    assert {momentum(step, 100, fixed) for step in range(100)} == {0.999}
