import pytest

from cosmos.model.checkpoint_reference import PUBLISHED_ARCHITECTURES
from cosmos.report.published import PUBLISHED_CHECKPOINTS, differences_to_published, published_figures


def test_every_published_checkpoint_has_figures() -> None:
    assert sorted(PUBLISHED_CHECKPOINTS) == sorted(PUBLISHED_ARCHITECTURES)


@pytest.mark.parametrize("checkpoint", PUBLISHED_ARCHITECTURES)
def test_every_checkpoint_is_published_with_retrieval_and_imagenet(checkpoint: str) -> None:
    for dataset in ("coco-val2017", "flickr30k-test"):
        found = published_figures(checkpoint, "retrieval", dataset)
        assert {"image_to_text_R@1", "text_to_image_R@1"} <= found.keys()
        assert all(0.3 < share < 1 for share in found.values())
    assert 0.3 <= published_figures(checkpoint, "classification", "imagenet")["top1"] < 0.6


@pytest.mark.parametrize(
    ("checkpoint", "coco", "flickr30k", "imagenet"),
    [
        ("cosmos_vitb16_cc3m", (0.531, 0.401), (0.841, 0.686), 0.371),
        ("cosmos_vitb16_pixelprose", (0.624, 0.434), (0.899, 0.736), 0.596),
        ("cosmos_vitb32_cc12m", (0.596, 0.430), (0.865, 0.698), 0.467),
        ("cosmos_vitb32_merged30m", (0.643, 0.484), (0.899, 0.761), 0.534),
    ],
)
def test_figures_are_the_papers(
    checkpoint: str, coco: tuple[float, float], flickr30k: tuple[float, float], imagenet: float
) -> None:
    for dataset, expected in (("coco-val2017", coco), ("flickr30k-test", flickr30k)):
        found = published_figures(checkpoint, "retrieval", dataset)
        assert (found["image_to_text_R@1"], found["text_to_image_R@1"]) == expected
    assert published_figures(checkpoint, "classification", "imagenet") == {"top1": imagenet}


def test_recall_among_more_candidates_is_published_of_the_largest_data() -> None:
    assert published_figures("cosmos_vitb16_merged30m", "retrieval", "coco-val2017") == {
        "image_to_text_R@1": 0.680,
        "image_to_text_R@5": 0.878,
        "image_to_text_R@10": 0.925,
        "text_to_image_R@1": 0.525,
        "text_to_image_R@5": 0.772,
        "text_to_image_R@10": 0.849,
    }


def test_segmentation_is_published_of_one_checkpoint() -> None:
    found = {
        name: published_figures("cosmos_vitb16_merged30m", "segmentation", name)["csa_mIoU"]
        for name in ("voc20", "context59", "coco-stuff", "coco-object", "cityscapes", "ade20k")
    }
    assert list(found.values()) == [0.777, 0.337, 0.232, 0.313, 0.347, 0.177]
    assert published_figures("cosmos_vitb32_merged30m", "segmentation", "voc20") == {}


def test_what_is_not_published_has_no_figures() -> None:
    assert published_figures("cosmos_vitb16_cc3m", "retrieval", "heldout") == {}
    assert published_figures("cosmos_vitb16_cc3m", "perception", "sugarcrepe") == {}


def test_an_unknown_checkpoint_is_named_beside_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'cosmos_vitb16': no checkpoint .*near it: cosmos_vitb16_cc3m, "):
        published_figures("cosmos_vitb16", "retrieval", "coco-val2017")


def test_differences_are_of_the_metrics_that_both_have() -> None:
    ours = {"top1": 0.5, "top5": 0.75, "accuracy/cat": 1.0}
    assert differences_to_published(ours, {"top1": 0.25, "top5": 1.0, "mIoU": 0.5}) == {
        "top1": 0.25,
        "top5": -0.25,
    }
    assert differences_to_published(ours, {}) == {}
