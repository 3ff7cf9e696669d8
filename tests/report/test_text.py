import pytest

from cosmos.report.plotly import escape_for_plotly
from cosmos.report.text import format_parameter, parameter_label


def test_plotly_gets_no_markup() -> None:
    assert escape_for_plotly("<b>a\x1b") == r"&lt;b&gt;a\x1b"


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (1 / 3, "0.333333"), (3, "3"), ("clip", "clip"), ([1, 0.5], "1, 0.5")]
)
def test_parameters_read_as_a_person_would_write_them(value: object, text: str) -> None:
    assert format_parameter(value) == text


def test_a_parameters_label_is_its_name_without_the_section() -> None:
    assert parameter_label("loss.distill_terms.image_to_text") == "image_to_text"
    assert parameter_label("seed") == "seed"
