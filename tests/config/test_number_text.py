"""Numbers for people: short, and never rounded to zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.config.number_text import format_duration, format_number, format_share


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.000638, "0.000638"),
        (1e-5, "1e-05"),
        (0.31415926, "0.3142"),
        (3.0, "3"),
        (12345.678, "12346"),
        (0.0, "0"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_four_significant_digits(number: float, text: str) -> None:
    assert format_number(number) == text


@pytest.mark.parametrize(("share", "text"), [(0.5234, "52.3%"), (0.0004, "0.04%"), (0.0, "0.0%")])
def test_shares_have_a_decimal_or_those_that_they_need(share: float, text: str) -> None:
    assert format_share(share) == text


@given(st.floats(1e-9, 1e9), st.sampled_from([-1, 1]))
def test_nothing_but_zero_is_shown_as_zero(size: float, sign: int) -> None:
    assert float(format_number(sign * size)) == pytest.approx(sign * size, rel=1e-3)
    if size <= 1:
        assert float(format_share(sign * size).removesuffix("%")) != 0


def test_durations_are_told_as_people_would() -> None:
    assert [format_duration(s) for s in (5, 130, 7200 + 300, 50 * 3600)] == [
        "5 s",
        "2 min",
        "2 h 05 min",
        "2 d 2 h",
    ]
