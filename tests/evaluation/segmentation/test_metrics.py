import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.evaluation.segmentation import metrics as segmentation
from cosmos.evaluation.segmentation.metrics import (
    IGNORED_CLASS,
    SegmentationLogits,
    axis_map,
    confusion,
    cut_windows,
    predict,
    resize_map,
    segmentation_logits,
    segmentation_metrics,
    window_starts,
)


def of_pixels(cosines: Tensor) -> SegmentationLogits:
    """Logits whose patches are pixels: (Q, H, W)."""
    return SegmentationLogits(cosines, torch.eye(cosines.shape[1]), torch.eye(cosines.shape[2]))


def in_a_row(*pixels: list[float]) -> SegmentationLogits:
    """Logits of an image one pixel high, from each pixel's cosines with the queries."""
    return of_pixels(torch.tensor(pixels).T[:, None])


def protocol(prob_thd: float = 0.0, area_thd: float | None = None) -> SegmentationProtocol:
    return SegmentationProtocol(logit_scale=1.0, prob_thd=prob_thd, area_thd=area_thd)


def by_canvas(patches: Tensor, resized: tuple[int, int], window: int, size: tuple[int, int]) -> Tensor:
    """What `segmentation_logits` gives, as it is usually computed."""
    canvas, count = torch.zeros(patches.shape[-1], *resized), torch.zeros(resized)
    enlarged = iter(interpolate(patches.permute(0, 3, 1, 2), size=(window, window), mode="bilinear"))
    for y in window_starts(resized[0], window):
        for x in window_starts(resized[1], window):
            canvas[:, y : y + window, x : x + window] += next(enlarged)
            count[y : y + window, x : x + window] += 1
    return interpolate((canvas / count)[None], size=size, mode="bilinear")[0]


@pytest.mark.parametrize(
    ("length", "starts"),
    [(224, [0]), (225, [0, 1]), (336, [0, 112]), (337, [0, 112, 113]), (448, [0, 112, 224])],
)
def test_windows_lie_half_a_window_apart_and_the_last_one_ends_with_the_image(
    length: int, starts: list[int]
) -> None:
    assert window_starts(length, 224) == starts


def test_an_image_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="100 pixels are fewer than a window's 224"):
        window_starts(100, 224)


def test_windows_are_cut_row_by_row() -> None:
    image = torch.arange(3 * 6 * 8).view(3, 6, 8)
    windows = cut_windows(image, 4)
    assert windows.shape == (6, 3, 4, 4)
    assert windows[1].equal(image[:, 0:4, 2:6])
    assert windows[5].equal(image[:, 2:6, 4:8])


@pytest.mark.parametrize(("length", "output"), [(3, 7), (7, 3), (14, 224), (5, 5)])
def test_resizing_as_a_matrix_is_what_torch_interpolates(length: int, output: int) -> None:
    line = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(0))
    expected = interpolate(line, size=output, mode="linear")[0, 0]
    torch.testing.assert_close(resize_map(length, output) @ line[0, 0], expected)


@given(
    patch=st.integers(1, 5),
    num_patches=st.integers(2, 4),
    extra=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_one_matrix_per_axis_gives_what_a_canvas_of_windows_gives(
    patch: int, num_patches: int, extra: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    window = patch * num_patches
    resized = (window + extra[0], window + extra[1])
    num_windows = math.prod(len(window_starts(length, window)) for length in resized)
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(num_windows, num_patches, num_patches, 3, generator=generator)
    logits = segmentation_logits(patches, resized, window, size)
    torch.testing.assert_close(
        logits.whole(), by_canvas(patches, resized, window, size), atol=1e-5, rtol=1e-5
    )


def test_what_patches_lend_to_a_pixel_sums_to_one() -> None:
    lent = axis_map(length=337, window=224, num_patches=14, output=500)
    assert lent.shape == (500, 3 * 14)
    torch.testing.assert_close(lent.sum(dim=1), torch.ones(500))


def test_a_class_wins_by_its_best_query() -> None:
    # Class 0 has queries 0 and 1, class 1 has query 2.
    logits = in_a_row([0.1, 0.9, 0.8], [0.1, 0.2, 0.3], [0.7, 0.0, 0.6])
    assert predict(logits, [2, 1], protocol()).tolist() == [[0, 1, 0]]


def test_pixels_of_low_probability_become_class_0() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4); of (0, ln 2) it is (1/3, 2/3).
    logits = in_a_row([0.0, math.log(3)], [0.0, math.log(2)])
    assert predict(logits, [1, 1], protocol(prob_thd=0.7)).tolist() == [[1, 0]]
    assert predict(logits, [1, 1], protocol(prob_thd=0.6)).tolist() == [[1, 1]]


def test_probability_is_shared_among_queries_and_not_among_classes() -> None:
    # Class 1 has two equal queries of 2/5 each, class 0 has one of 1/5.
    logits = in_a_row([0.0, math.log(2), math.log(2)])
    assert predict(logits, [1, 2], protocol(prob_thd=0.39)).item() == 1
    assert predict(logits, [1, 2], protocol(prob_thd=0.41)).item() == 0


def test_logits_are_scaled_before_probabilities_are_taken() -> None:
    logits = in_a_row([0.0, math.log(3) / 50])
    sharp = SegmentationProtocol(logit_scale=50.0, prob_thd=0.7)
    assert predict(logits, [1, 1], sharp).item() == 1
    assert predict(logits, [1, 1], protocol(prob_thd=0.7)).item() == 0


def test_small_classes_are_dropped_and_their_pixels_go_to_the_next_best() -> None:
    # Of 10 pixels 4 are class 0; of the others 5 are class 1 and 1, which prefers class 1 next, is class 2.
    pixels = [[0.9, 0.1, 0.0]] * 4 + [[0.1, 0.9, 0.0]] * 5 + [[0.1, 0.2, 0.9]]
    assert predict(in_a_row(*pixels), [1, 1, 1], protocol(area_thd=0.15)).tolist()[0] == [0] * 4 + [1] * 5 + [
        2
    ]
    assert predict(in_a_row(*pixels), [1, 1, 1], protocol(area_thd=0.17)).tolist()[0] == [0] * 4 + [1] * 6


def test_a_class_of_exactly_the_area_threshold_is_dropped() -> None:
    pixels = [[0.0, 0.9, 0.1], [0.0, 0.1, 0.9]]
    assert predict(in_a_row(*pixels), [1, 1, 1], protocol(area_thd=0.5)).tolist() == [[0, 0]]


def test_class_0_is_never_dropped_however_small() -> None:
    pixels = [[0.9, 0.1]] + [[0.1, 0.9]] * 99
    assert predict(in_a_row(*pixels), [1, 1], protocol(area_thd=0.9)).tolist()[0] == [0] + [1] * 99


@pytest.mark.parametrize("elements", [1, 300, 10**9])
def test_the_prediction_does_not_depend_on_the_strips_that_it_is_made_in(
    monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    cosines = torch.rand(5, 17, 13, generator=torch.Generator().manual_seed(0))
    settings = SegmentationProtocol(logit_scale=10.0, prob_thd=0.3, area_thd=0.2)
    monkeypatch.setattr(segmentation, "STRIP_ELEMENTS", elements)
    predicted = predict(of_pixels(cosines), [2, 1, 2], settings)
    probabilities = (10 * cosines).softmax(dim=0)
    classes = torch.stack([probabilities[:2].amax(0), probabilities[2], probabilities[3:].amax(0)])
    areas = classes.argmax(dim=0).flatten().bincount(minlength=3)
    classes[1:] *= (areas[1:] > 0.2 * areas[1:].sum())[:, None, None]
    best, expected = classes.max(dim=0)
    expected[best < 0.3] = 0
    assert predicted.equal(expected)


def test_the_confusion_matrix_counts_labels_by_predictions_without_the_ignored() -> None:
    labels = torch.tensor([[0, 0, 1, IGNORED_CLASS], [2, 2, IGNORED_CLASS, 1]], dtype=torch.int32)
    predicted = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 1]])
    assert confusion(labels, predicted, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_iou_is_the_intersection_over_what_is_predicted_or_labelled() -> None:
    matrix = torch.tensor([[1, 1, 0], [0, 2, 0], [1, 0, 1]])
    metrics = segmentation_metrics(matrix, ["sky", "dog", "cat"])
    assert metrics["IoU/sky"] == pytest.approx(1 / 3)
    assert metrics["IoU/dog"] == pytest.approx(2 / 3)
    assert metrics["IoU/cat"] == pytest.approx(1 / 2)
    assert metrics["mIoU"] == pytest.approx(1 / 2)
    assert metrics["accuracy"] == pytest.approx(4 / 6)


def test_a_class_that_does_not_occur_has_no_iou_but_one_that_is_only_predicted_has_zero() -> None:
    matrix = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    metrics = segmentation_metrics(matrix, ["sky", "dog", "cat"])
    assert metrics == {"mIoU": 0.375, "accuracy": 0.75, "IoU/sky": 0.75, "IoU/dog": 0.0}


def test_masks_without_any_label_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixel has a label; ignore_label"):
        segmentation_metrics(torch.zeros(2, 2, dtype=torch.long), ["sky", "dog"])
