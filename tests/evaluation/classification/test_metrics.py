import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.config.figures import Figures
from cosmos.evaluation.classification import metrics as classification
from cosmos.evaluation.classification.metrics import classification_chance, classification_metrics

NAMES = ("cat", "dog", "car", "bus", "tree", "sea")


def scores(rows: list[list[float]]) -> tuple[Tensor, Tensor]:
    """Embeddings of images and classes whose products are `rows`."""
    images = torch.tensor(rows)
    return images, torch.eye(images.shape[1])


def metrics(rows: list[list[float]], labels: list[int], names: tuple[str, ...] = NAMES) -> Figures:
    images, classes = scores(rows)
    return classification_metrics(images, classes, torch.tensor(labels), names[: classes.shape[0]])


def test_a_case_by_hand() -> None:
    found = metrics(
        [
            [0.9, 0.1, 0.2, 0.3, 0.4, 0.5],  # cat: first
            [0.1, 0.9, 0.8, 0.7, 0.6, 0.5],  # cat: last, behind five others
            [0.1, 0.9, 0.8, 0.7, 0.6, 0.5],  # car: second
        ],
        [0, 0, 2],
    )
    assert found == pytest.approx(
        {
            "top1": 1 / 3,
            "top5": 2 / 3,
            "mean_per_class": (1 / 2 + 0) / 2,
            "ties": 0,
            "accuracy/cat": 1 / 2,
            "accuracy/car": 0,
        }
    )


def test_top5_needs_five_classes() -> None:
    assert "top5" not in metrics([[0.1, 0.2, 0.3, 0.4]], [0])
    assert metrics([[0.1, 0.2, 0.3, 0.4, 0.5]], [0])["top5"] == 1
    assert "top5" not in classification_chance(4)


def test_mean_per_class_weighs_classes_alike_and_leaves_out_those_without_images() -> None:
    found = metrics([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [0, 0, 0, 1])
    assert found["top1"] == 3 / 4
    assert found["mean_per_class"] == 1 / 2
    assert "accuracy/car" not in found


def test_a_tie_for_the_first_place_counts_half() -> None:
    found = metrics([[0.5, 0.5, 0.1], [0.9, 0.1, 0.1]], [0, 0])
    assert found["top1"] == (1 / 2 + 1) / 2
    assert found["ties"] == 1 / 2


def test_a_tie_for_the_fifth_place_counts_half_at_top5() -> None:
    assert metrics([[0.1, 0.9, 0.8, 0.7, 0.6, 0.1]], [0])["top5"] == 1 / 2


def test_a_tie_below_the_first_place_changes_no_accuracy() -> None:
    assert metrics([[0.2, 0.2, 0.9]], [0])["top1"] == 0


def test_an_encoder_that_embeds_everything_alike_scores_what_guessing_does() -> None:
    images, classes = torch.ones(12, 4) / 2, torch.ones(6, 4) / 2
    found = classification_metrics(images, classes, torch.arange(12) % 6, NAMES)
    assert {key: found[key] for key in classification_chance(6)} == pytest.approx(classification_chance(6))
    assert found["ties"] == 1


def test_guessing_is_right_once_in_as_many_times_as_there_are_classes() -> None:
    assert classification_chance(10) == {"top1": 0.1, "top5": 0.5, "mean_per_class": 0.1}


def test_classes_of_the_same_name_have_figures_of_their_own() -> None:
    found = metrics([[0.9, 0.1], [0.9, 0.1]], [0, 1], names=("missile", "missile"))
    assert found["accuracy/missile (0)"] == 1
    assert found["accuracy/missile (1)"] == 0


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(5, 12))
def test_accuracies_are_those_of_sorting(seed: int, num_images: int, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = normalize(torch.randn(num_images, 8, generator=generator, dtype=torch.double))
    classes = normalize(torch.randn(num_classes, 8, generator=generator, dtype=torch.double))
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    order = (100 * images @ classes.T).topk(5).indices == labels[:, None]
    found = classification_metrics(images, classes, labels, [str(i) for i in range(num_classes)])
    assert found["top1"] == pytest.approx(order[:, 0].double().mean().item())
    assert found["top5"] == pytest.approx(order.any(dim=1).double().mean().item())


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images, classes = torch.randn(50, 8, generator=generator), torch.randn(6, 8, generator=generator)
    labels = torch.arange(50) % 6
    whole = classification_metrics(images, classes, labels, NAMES)
    monkeypatch.setattr(classification, "SCORES_AT_ONCE", 42)
    assert classification_metrics(images, classes, labels, NAMES) == whole


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.full((1, 2), torch.nan), torch.tensor([0]), "images are not finite"),
        (torch.ones(1, 2), torch.tensor([2]), "between 2 and 2, but there are 2 classes"),
        (torch.ones(1, 2), torch.tensor([-1]), "between -1 and -1"),
        (torch.ones(1, 2), torch.tensor([0, 1]), "one for each of 1 images"),
        (torch.ones(0, 2), torch.tensor([], dtype=torch.long), "there are no images"),
    ],
)
def test_what_cannot_be_measured_is_named(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(images, torch.eye(2), labels, ("cat", "dog"))


def test_every_class_needs_a_name() -> None:
    with pytest.raises(ValueError, match="2 embeddings of classes for 1 class names"):
        classification_metrics(torch.ones(1, 2), torch.eye(2), torch.tensor([0]), ("cat",))
