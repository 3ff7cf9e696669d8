import numpy as np
from PIL import Image

from cosmos.report.galleries.changes import (
    changed_classes,
    classification_changes,
    matched_datasets,
    pair_changes,
    retrieval_changes,
    segmentation_changes,
)
from cosmos.report.galleries.content import Missing, SegmentationAnswers
from cosmos.report.segmentations import SegmentationSample
from tests.report.galleries.examples import (
    at_ranks,
    classified,
    galleries,
    gallery,
    preferred,
    retrieval,
)

NAMES = ("red", "green", "blue")


def test_queries_are_ordered_by_the_places_that_they_rose_or_fell() -> None:
    now, before = retrieval(at_ranks(0, 3, 1, 0, 4)), retrieval(at_ranks(2, 0, 1, 4, 0))
    of_images, of_captions = retrieval_changes(now, before)
    assert [changed.text for changed in of_images.better] == ["place 5 → 1", "place 3 → 1"]
    assert [changed.text for changed in of_captions.worse] == ["place 1 → 5", "place 1 → 4"]
    assert (of_images.num_better, of_images.num_worse) == (2, 2)


def test_images_are_better_that_are_right_now() -> None:
    changes = classification_changes(
        classified([0, 1, 2, 0], [0, 1, 1, 1], NAMES), classified([0, 1, 2, 0], [1, 1, 2, 1], NAMES)
    )
    assert [changed.text for changed in changes.better] == ["red: green → red"]
    assert [changed.text for changed in changes.worse] == ["blue: blue → green"]


def test_items_are_better_that_are_right_now_by_the_largest_gain() -> None:
    texts = [(f"true {number}", "false") for number in range(4)]
    kinds = ["a"] * 4
    now, before = (
        preferred(margins, kinds, texts) for margins in ([0.1, 0.4, -0.2, 0.3], [-0.1] * 2 + [0.1] * 2)
    )
    better, worse, num_better, num_worse = pair_changes(now, before)
    assert [item.captions[0][0] for item in better] == ["true 1", "true 0"]
    assert [item.captions[0][0] for item in worse] == ["true 2"]
    assert (num_better, num_worse) == (2, 1)


def test_classes_are_ordered_by_gain_then_by_loss() -> None:
    now = gallery(
        None, figures={"teacher": {"accuracy/a": 0.9, "accuracy/b": 0.1, "accuracy/c": 0.5, "top1": 1}}
    )
    before = gallery(None, figures={"teacher": {"accuracy/a": 0.5, "accuracy/b": 0.4, "accuracy/c": 0.5}})
    assert [changed.name for changed in changed_classes(now, before, "accuracy/")] == ["a", "b"]


def test_segmentations_are_ordered_by_the_change_of_their_accuracy() -> None:
    def answers(*shares: int) -> SegmentationAnswers:
        predicted = (np.arange(4)[None] >= share for share in shares)
        samples = [
            SegmentationSample(
                Image.new("RGB", (4, 1)), np.zeros((1, 4), np.uint8), labels.astype(np.uint8), NAMES
            )
            for labels in predicted
        ]
        return SegmentationAnswers(NAMES, tuple(samples), {})

    changes = segmentation_changes(answers(2, 4, 0), answers(2, 3, 4))
    assert [gain for _, _, gain in changes] == [-1.0, 0.25, 0.0]


def test_only_answers_of_one_kind_on_the_same_data_are_compared() -> None:
    three, two = retrieval(at_ranks(0, 0, 0)), retrieval(at_ranks(0, 0))
    own = galleries(gallery(three))
    assert len(matched_datasets(own, galleries(gallery(three)))) == 1
    for other in (
        gallery(three, data_hash="b" * 64),
        gallery(two),
        gallery(Missing("gone")),
        gallery(classified([0], [0], NAMES)),
    ):
        assert matched_datasets(own, galleries(other)) == []
