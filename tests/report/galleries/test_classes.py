from cosmos.config.figures import CLASS_ACCURACY
from cosmos.report.galleries.classes import (
    MAX_MATRIX,
    NUM_BEST,
    NUM_CONFUSIONS,
    NUM_WORST,
    class_bars,
    class_family,
    classes_without_images,
    confusion_matrix,
    confusion_rows,
)
from tests.report.galleries.examples import classified

NAMES = ("red", "green", "blue")
MANY = [f"class {number}" for number in range(1000)]


def test_the_largest_confusion_comes_first() -> None:
    rows = confusion_rows(classified([0, 0, 0, 1, 1, 2], [1, 1, 0, 0, 1, 2], NAMES))
    assert [(row.own, row.predicted, row.count, row.num_images) for row in rows] == [
        ("red", "green", 2, 3),
        ("green", "red", 1, 2),
    ]
    assert [len(row.pictures) for row in rows] == [2, 1]


def test_the_matrix_has_numbers_and_shares_by_predicted_class() -> None:
    matrix = confusion_matrix(classified([0, 0, 1], [1, 0, 1], NAMES))
    assert matrix.names == list(NAMES)
    assert matrix.rows == [
        ("red", [1, 1, 0], [0.5, 0.5, 0.0]),
        ("green", [0, 1, 0], [0.0, 1.0, 0.0]),
        ("blue", [0, 0, 0], [0.0, 0.0, 0.0]),
    ]


def test_of_a_thousand_classes_the_most_confused_are_shown() -> None:
    answers = classified(range(1000), [*range(1, 1000), 0], MANY)
    matrix = confusion_matrix(answers)
    assert len(matrix.names) == MAX_MATRIX
    assert matrix.num_left_out == 1000 - MAX_MATRIX
    assert len(confusion_rows(answers)) == NUM_CONFUSIONS


def test_of_a_thousand_classes_the_worst_and_the_best_have_bars() -> None:
    figures = {CLASS_ACCURACY.key(name): number / 1000 for number, name in enumerate(MANY)}
    bars = class_bars({"teacher": figures}, CLASS_ACCURACY.name, "", "teacher")
    assert bars
    assert [bar.name for bar in bars.worst] == MANY[:NUM_WORST]
    assert [bar.name for bar in bars.best] == MANY[-NUM_BEST:]
    assert bars.num_left_out == 1000 - NUM_WORST - NUM_BEST


def test_bars_are_ordered_by_the_model_that_is_shown() -> None:
    figures = {"student": {"accuracy/a": 0.1}, "teacher": {"accuracy/a": 0.9, "accuracy/b": 0.2}}
    bars = class_bars(figures, "accuracy/", "", "teacher")
    assert bars
    assert bars.models == ["teacher", "student"]
    assert [(bar.name, bar.shares) for bar in bars.worst] == [("b", [0.2, None]), ("a", [0.9, 0.1])]
    assert class_bars({"teacher": {"top1": 1.0}}, "accuracy/", "", "teacher") is None


def test_a_class_without_images_is_named() -> None:
    assert classes_without_images(classified([0, 2], [0, 2], NAMES)) == ["green"]


def test_figures_of_classes_are_those_of_the_attention_that_was_measured_first() -> None:
    assert class_family({"plain_mIoU": 0.5, "plain_IoU/sky": 0.5, "csa_IoU/sky": 0.5}) == "plain_IoU/"
    assert class_family({"top1": 0.5, "accuracy/red": 0.5}) == "accuracy/"
    assert class_family({"top1": 0.5}) == ""
