import pytest
from torchvision.datasets import Flowers102

from cosmos.evaluation.prompts import (
    CLASSIFICATION_PROMPTS,
    IMAGENET_CLASSES,
    IMAGENET_TEMPLATES,
    SEGMENTATION_CLASSES,
    Prompts,
)

NUM_CLASSES = {
    "imagenet": 1000,
    "food101": 101,
    "cifar10": 10,
    "cifar100": 100,
    "sun397": 397,
    "stanford-cars": 196,
    "fgvc-aircraft": 100,
    "dtd": 47,
    "oxford-pets": 37,
    "caltech101": 101,
    "flowers102": 102,
    "eurosat": 10,
    "stl10": 10,
    "gtsrb": 43,
    "resisc45": 45,
    "country211": 211,
    "pcam": 2,
    "mnist": 10,
    "voc2007": 20,
}

CLASSES_AND_QUERIES = {
    "voc20": (20, 30),
    "voc21": (21, 56),
    "context59": (59, 59),
    "context60": (60, 60),
    "coco-object": (81, 113),
    "coco-stuff": (171, 171),
    "ade20k": (150, 150),
    "cityscapes": (19, 19),
}


def test_imagenet_has_openais_classes_and_templates() -> None:
    assert CLASSIFICATION_PROMPTS["imagenet"] == Prompts(IMAGENET_CLASSES, IMAGENET_TEMPLATES)
    assert len(IMAGENET_TEMPLATES) == 80
    assert IMAGENET_TEMPLATES[0] == "a bad photo of a {}."
    assert (IMAGENET_CLASSES[0], IMAGENET_CLASSES[-1]) == ("tench", "toilet paper")


def test_every_classification_dataset_has_a_name_for_each_of_its_classes() -> None:
    assert {name: len(prompts.class_names) for name, prompts in CLASSIFICATION_PROMPTS.items()} == NUM_CLASSES


@pytest.mark.parametrize("name", CLASSIFICATION_PROMPTS)
def test_every_template_has_one_place_for_a_class_name(name: str) -> None:
    templates = CLASSIFICATION_PROMPTS[name].templates
    assert templates
    assert all(template.count("{}") == 1 for template in templates)


def test_every_segmentation_dataset_has_the_classes_and_queries_of_the_protocol() -> None:
    found = {name: (len(classes), sum(map(len, classes))) for name, classes in SEGMENTATION_CLASSES.items()}
    assert found == CLASSES_AND_QUERIES


def test_no_name_is_empty() -> None:
    names = [name for prompts in CLASSIFICATION_PROMPTS.values() for name in prompts.class_names]
    words = [word for classes in SEGMENTATION_CLASSES.values() for words in classes for word in words]
    assert all(name.strip() for name in names + words)
    assert all(classes for sets in SEGMENTATION_CLASSES.values() for classes in sets)


@pytest.mark.parametrize("name", ["food101", "cifar10", "cifar100", "sun397", "dtd", "oxford-pets"])
def test_classes_that_datasets_sort_by_name_are_sorted(name: str) -> None:
    names = [class_name.lower() for class_name in CLASSIFICATION_PROMPTS[name].class_names]
    assert names == sorted(names)


def test_flowers_come_in_the_order_of_their_labels() -> None:
    pairs = zip(CLASSIFICATION_PROMPTS["flowers102"].class_names, Flowers102.classes, strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ("globe flower", "globe-flower"),
        ("pink and yellow dahlia", "pink-yellow dahlia?"),
        ("air plant", "ball moss"),
    ]


def test_the_first_label_of_voc21_and_coco_object_is_the_background() -> None:
    for name in ("voc21", "coco-object"):
        assert {"sky", "wall", "tree"} < set(SEGMENTATION_CLASSES[name][0])
