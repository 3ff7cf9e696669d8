"""Small pictures inside a page, as WebP: photographs, maps over them, and segmentations."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageOps

from cosmos.errors import CosmosError
from cosmos.report.segmentations import IGNORED_LABEL, LabelMap, RgbColour, SegmentationSample, colour_labels
from cosmos.run.statistics.answers import SampleImages
from cosmos.run.statistics.image_values import FloatArray

SIDE = 128
"""Longest side of a picture, in pixels."""
MAP_SIDE = 112
"""Side of a map over a photograph, in pixels."""
LARGE_SIDE = 192
"""Longest side of a picture that is looked at by itself."""
QUALITY = 72
"""Quality of photographs in WebP."""

_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
"""Colours from the lowest to the highest value of a map: matplotlib's inferno."""


@dataclass(frozen=True)
class EmbeddedPicture:
    """Picture as a part of a page."""

    uri: Markup
    """data URI of its bytes; empty where it could not be read"""
    width: int
    height: int
    text: str
    """description for those who cannot see it, or the reason why it is missing"""


def embed_picture(image: Image.Image, text: str, *, is_exact: bool = False) -> EmbeddedPicture:
    """Return a picture in WebP; `is_exact`: without loss, as labels need it."""
    content = io.BytesIO()
    image.save(content, "WEBP", quality=QUALITY, method=4, lossless=is_exact)
    encoded = base64.b64encode(content.getvalue()).decode()
    return EmbeddedPicture(Markup(f"data:image/webp;base64,{encoded}"), *image.size, text)


def thumbnail(images: SampleImages, index: int, text: str, side: int = SIDE) -> EmbeddedPicture:
    """Return an image of a dataset, `side` pixels long or high; its error where it cannot be read."""
    try:
        image = images.read(index)
    except CosmosError as error:
        return EmbeddedPicture(Markup(), side, side, str(error))
    return embed_picture(fit_picture(image, side), text)


def fit_picture(image: Image.Image, side: int, resampling: int = Image.Resampling.LANCZOS) -> Image.Image:
    """Return an image resized to a longest side of `side` pixels."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), resampling)


def crop_square(image: Image.Image, side: int) -> Image.Image:
    """Return the middle of an image, which is what models see of it, with `side` pixels on a side."""
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


def heat_picture(photograph: Image.Image, weights: FloatArray, text: str) -> EmbeddedPicture:
    """Return a square photograph in grey under a map (rows, columns): the lightest patch is the highest.

    The map is stretched from its lowest to its highest value; one that is everywhere the same stays dark.
    """
    grey = np.asarray(photograph.convert("L").resize((MAP_SIDE, MAP_SIDE)), np.float64)[:, :, None]
    heat = _enlarge(stretch(weights))
    steps = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(heat, steps, channel) for channel in _HEAT.T], axis=2)
    mixed = 0.4 * grey + 0.6 * colours
    return embed_picture(Image.fromarray(mixed.round().astype(np.uint8)), text)


def stretch(weights: FloatArray) -> FloatArray:
    """Return weights linearly mapped to [0, 1]; zeros where all are the same or one is not finite."""
    lowest, highest = weights.min(), weights.max()
    if not np.isfinite(highest - lowest) or highest <= lowest:
        return np.zeros_like(weights)
    stretched: FloatArray = (weights - lowest) / (highest - lowest)
    return stretched


def _enlarge(shares: FloatArray) -> FloatArray:
    """Return shares between 0 and 1 at the size of a map's picture."""
    small = Image.fromarray(shares.astype(np.float32))
    large = small.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(large, np.float64).clip(0, 1)


@dataclass(frozen=True)
class SegmentationPanels:
    """Picture of an image, of its ground truth and of a prediction, and the classes in them."""

    image: EmbeddedPicture
    label: EmbeddedPicture
    prediction: EmbeddedPicture
    accuracy: float
    """share of the pixels that are predicted right; NaN where none counts"""
    legend: Sequence[tuple[str, str]]
    """colour and name of each class"""


def segmentation_panels(sample: SegmentationSample) -> SegmentationPanels:
    """Return the pictures of a segmentation, in the colours of sheets."""
    colours = sample.colours()
    legend = [(colour_code(colours[label]), sample.name(label)) for label in sample.occurring()]
    return SegmentationPanels(
        embed_picture(fit_picture(sample.image.convert("RGB"), LARGE_SIDE), "image"),
        label_picture(sample.label, colours, "ground truth"),
        label_picture(sample.prediction, colours, "prediction"),
        pixel_accuracy(sample),
        legend,
    )


def label_picture(labels: LabelMap, colours: Sequence[RgbColour], text: str) -> EmbeddedPicture:
    """Return labels (H, W) as a picture in these colours, without loss."""
    coloured = fit_picture(colour_labels(labels, colours), LARGE_SIDE, Image.Resampling.NEAREST)
    return embed_picture(coloured, text, is_exact=True)


def pixel_accuracy(sample: SegmentationSample) -> float:
    """Return the share of the pixels that are predicted right, of those that count; NaN where none does."""
    label, prediction = np.asarray(sample.label), np.asarray(sample.prediction)
    counted = label != IGNORED_LABEL
    return float((label == prediction)[counted].mean()) if counted.any() else float("nan")


def colour_code(colour: RgbColour) -> str:
    """Return a colour as CSS writes it: #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
