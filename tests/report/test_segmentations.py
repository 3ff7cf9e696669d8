from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cosmos.report.segmentations import (
    IGNORED_LABEL,
    PANEL_HEADINGS,
    PANEL_SIDE,
    SegmentationSample,
    class_colours,
    segmentation_sheet,
)

NAMES = [f"class {number}" for number in range(255)]


def segmented(label: Any, prediction: Any, names: Sequence[str] = NAMES) -> SegmentationSample:
    label, prediction = np.array(label, np.uint8), np.array(prediction, np.uint8)
    return SegmentationSample(Image.new("RGB", label.shape[::-1], "black"), label, prediction, names)


def colours_of(sheet: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(sheet).reshape(-1, 3)}


def middle(sheet: Image.Image, column: int) -> np.ndarray[Any, Any]:
    """The rows of pixels in the middle of one of the sheet's columns."""
    return np.asarray(sheet)[:, sheet.width * (2 * column + 1) // (2 * len(PANEL_HEADINGS))]


def test_image_ground_truth_and_prediction_stand_beside_each_other() -> None:
    sheet = segmentation_sheet([segmented([[1] * 8] * 8, [[2] * 8] * 8)])
    for column, colour in enumerate([(0, 0, 0), class_colours()[1], class_colours()[2]]):
        assert (middle(sheet, column) == colour).all(axis=1).sum() >= PANEL_SIDE


def test_each_sample_has_a_row() -> None:
    sheet = segmentation_sheet([segmented([[label] * 8] * 8, [[0] * 8] * 8) for label in (1, 2, 3)])
    truth = middle(sheet, 1)
    rows = [np.flatnonzero((truth == class_colours()[label]).all(axis=1)).mean() for label in (1, 2, 3)]
    assert rows == sorted(rows)
    assert len(set(rows)) == 3


def test_labels_are_enlarged_without_mixing_their_colours() -> None:
    sheet = segmentation_sheet([segmented([[0, 1], [1, 0]], [[1, 0], [0, 1]])])
    saturated = {colour for colour in colours_of(sheet) if len(set(colour)) > 1}
    assert saturated == set(class_colours()[:2])


def test_ignored_pixels_are_grey_and_the_legend_says_so() -> None:
    plain = segmentation_sheet([segmented([[0, 0], [0, 0]], [[0, 0], [0, 0]])])
    ignoring = segmentation_sheet([segmented([[0, 255], [0, 0]], [[0, 0], [0, 0]])])
    red, green, blue = class_colours()[IGNORED_LABEL]
    assert red == green == blue
    assert legend_width(ignoring) > legend_width(plain)


def legend_width(sheet: Image.Image) -> int:
    """Pixels from the left to the last that is not white, in the last lines of the sheet."""
    legend = (np.asarray(sheet)[-30:] != 255).any(axis=(0, 2))
    return int(np.flatnonzero(legend).max())


def test_the_legend_names_the_classes_that_occur_in_either() -> None:
    one = segmented([[7, 3], [3, 3]], [[3, 3], [5, 3]])
    assert [one.name(label) for label in one.occurring()] == ["class 3", "class 5", "class 7"]


def test_names_in_the_legend_are_printable_and_short() -> None:
    one = segmented([[0, 1]], [[0, 255]], ["cat\x1b[31m\n", "x" * 1000])
    assert [one.name(label) for label in one.occurring()] == ["cat\\x1b[31m\\n", "x" * 39 + "…", "ignored"]


def test_a_long_legend_takes_as_many_lines_as_it_needs() -> None:
    many = np.arange(100).reshape(10, 10)
    few = segmentation_sheet([segmented(np.zeros((10, 10)), np.zeros((10, 10)))])
    assert segmentation_sheet([segmented(many, many)]).height > few.height + 100
    assert set(class_colours()[:100]) <= colours_of(segmentation_sheet([segmented(many, many)]))


def test_an_image_of_any_shape_fits_its_column() -> None:
    for shape in ((1, 1), (1, 500), (500, 1), (700, 40)):
        sheet = segmentation_sheet([segmented(np.ones(shape), np.ones(shape))])
        assert sheet.width == segmentation_sheet([segmented([[0]], [[0]])]).width
        assert class_colours()[1] in colours_of(sheet)


def test_tensors_are_shown_like_arrays() -> None:
    label = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    from_tensors = segmentation_sheet([SegmentationSample(Image.new("RGB", (2, 2)), label, label, NAMES)])
    from_arrays = segmentation_sheet([segmented(label.numpy(), label.numpy())])
    assert np.array_equal(np.asarray(from_tensors), np.asarray(from_arrays))


def test_colours_are_always_the_same_and_never_shared() -> None:
    assert class_colours()[:3] == ((74, 92, 128), (68, 153, 17), (204, 85, 0))
    assert len(set(class_colours())) == 256


def test_colours_of_a_usual_number_of_classes_are_easily_told_apart() -> None:
    colours = np.array([*class_colours()[:21], class_colours()[IGNORED_LABEL]], float)
    distances = np.abs(colours[:, None] - colours).sum(axis=2) + np.eye(len(colours)) * 1000
    assert distances.min() > 50


@given(st.text(st.characters(), max_size=80))
@settings(max_examples=40, deadline=None)
def test_any_unicode_can_be_a_class_name(name: str) -> None:
    segmentation_sheet([segmented([[0]], [[0]], [name])])


def test_a_prediction_of_another_size_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"must have the same height and width; these have \(1, 2\), \(2, 1\)"
    ):
        segmented([[0, 0]], [[0], [0]])


def test_a_label_without_a_name_is_named() -> None:
    with pytest.raises(ValueError, match="label 3 has no name: there are 2 classes, numbered from 0"):
        segmented([[0, 3]], [[0, 1]], ["cat", "dog"])


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one sample"):
        segmentation_sheet([])


def test_a_class_that_is_called_by_a_colours_name_has_that_colour() -> None:
    white, labels = Image.new("RGB", (4, 4), "white"), np.array([[0, 1, 2, 2]] * 4, np.uint8)
    one = SegmentationSample(white, labels, labels, ("background", "red", "sheep"))
    assert one.colours()[1] == (255, 0, 0)
    assert (one.colours()[0], one.colours()[2]) == (class_colours()[0], class_colours()[2])


def test_more_classes_than_labels_of_a_byte_have_colours_as_far_as_those_go() -> None:
    white, labels = Image.new("RGB", (4, 4), "white"), np.zeros((4, 4), np.uint8)
    names = ("background", *["orange"] * 299)
    assert len(SegmentationSample(white, labels, labels, names).colours()) == 256
