"""Class names and prompt templates of the published datasets, as CLIP and COSMOS were evaluated with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES


@dataclass(frozen=True)
class Prompts:
    """Class names and templates that make the captions of a dataset's classes."""

    class_names: tuple[str, ...]
    """in the order of labels; a name may occur twice (ImageNet's missile and sunglasses do)"""
    templates: tuple[str, ...]
    """captions with {} in the place of the class name"""


def _parse_classification(content: Mapping[str, Any]) -> dict[str, Prompts]:
    return {
        name: Prompts(tuple(prompts["class_names"]), tuple(prompts["templates"]))
        for name, prompts in content.items()
    }


def _parse_segmentation(content: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {name: tuple(map(tuple, classes)) for name, classes in content.items()}


_CONTENT = json.loads(Path(__file__).with_name("prompts.json").read_text(encoding="utf-8"))

IMAGENET_CLASSES: tuple[str, ...] = tuple(IMAGENET_CLASSNAMES)
"""OpenAI's names of ImageNet's 1,000 classes, in the order of the sorted WordNet ids."""

IMAGENET_TEMPLATES: tuple[str, ...] = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
"""OpenAI's 80 templates for ImageNet."""

CLASSIFICATION_PROMPTS: Mapping[str, Prompts] = {
    "imagenet": Prompts(IMAGENET_CLASSES, IMAGENET_TEMPLATES),
    **_parse_classification(_CONTENT["classification"]),
}
"""Prompts of classification datasets, by name."""

SEGMENTATION_CLASSES: Mapping[str, tuple[tuple[str, ...], ...]] = _parse_segmentation(
    _CONTENT["segmentation"]
)
"""Synonyms for every class of segmentation datasets, by dataset, in the order of labels."""
