"""Sheet of segmentations: images, their ground truth and a model's prediction, in the same colours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from cosmos.config.printable_text import printable
from cosmos.errors import InputError

IGNORED_LABEL = 255
"""Label of pixels that do not count."""
PANEL_SIDE = 288
"""Longest side of a picture on the sheet, in pixels."""
MAX_CLASS_NAME = 40
"""Largest number of characters of a class name, which is cut after them."""

PANEL_HEADINGS = ("image", "ground truth", "prediction")

LabelMap = NDArray[np.uint8] | Tensor
RgbColour = tuple[int, int, int]

_GREY = (190, 190, 190)
_CALM = (74, 92, 128)
_MARGIN = 12
_GAP = 6
_CHIP = 12
_LINE = 20
_FONT_SIZE = 13
_WIDTH = 2 * _MARGIN + len(PANEL_HEADINGS) * PANEL_SIDE + (len(PANEL_HEADINGS) - 1) * _GAP


@dataclass(frozen=True)
class SegmentationSample:
    """Image, ground truth and prediction. Raises InputError where these do not fit each other."""

    image: Image.Image
    """RGB"""
    label: LabelMap
    """(H, W) uint8, on the CPU: the ground truth, 255 where it is ignored"""
    prediction: LabelMap
    """(H, W) uint8, on the CPU"""
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        shapes = [tuple(self.label.shape), tuple(self.prediction.shape), self.image.size[::-1]]
        if len(set(shapes)) > 1:
            raise InputError(
                "ground truth, prediction and image must have the same height and width; these have"
                f" {', '.join(map(str, shapes))}"
            )
        nameless = [
            label for label in self.occurring() if label >= len(self.class_names) and label != IGNORED_LABEL
        ]
        if nameless:
            raise InputError(
                f"label {nameless[0]} has no name: there are {len(self.class_names)} classes, numbered from"
                " 0; name the others too, or correct the labels"
            )

    def occurring(self) -> list[int]:
        """Return the labels of the ground truth and of the prediction, in order."""
        labels: list[int] = np.unique([np.asarray(self.label), np.asarray(self.prediction)]).tolist()
        return labels

    def colours(self) -> tuple[RgbColour, ...]:
        """Return 256 colours by label. A class that is called by a colour's name has that colour."""
        colours = list(class_colours())
        for label, name in enumerate(self.class_names[:IGNORED_LABEL]):
            if name in ImageColor.colormap:
                red, green, blue = ImageColor.getrgb(name)[:3]
                colours[label] = (red, green, blue)
        return tuple(colours)

    def name(self, label: int) -> str:
        """Return the name of a label in the legend."""
        return "ignored" if label == IGNORED_LABEL else _short(printable(self.class_names[label]))


def segmentation_sheet(samples: Sequence[SegmentationSample]) -> Image.Image:
    """Return a row of image, ground truth and prediction for each sample, above a legend of its classes.

    A label has the same colour on every sheet, unless its class is called by a colour's name; ignored pixels
    are grey. Raises InputError without samples.
    """
    if not samples:
        raise InputError("a sheet of segmentations needs at least one sample")
    return _stacked(
        [_headings(), *(part for sample in samples for part in (_panels(sample), _legend(sample)))]
    )


@cache
def class_colours() -> tuple[RgbColour, ...]:
    """Return 256 colours by label: a calm one for 0, often the background, and grey for 255: ignored.

    Each of the others is as far as can be from grey and from those before it; distances are Euclidean in
    OKLab, where they agree with what the eye sees. Dark, very light, greyish and glaring ones are left out.
    """
    candidates = _moderate_colours()
    places = _oklab(candidates)
    chosen: list[RgbColour] = [_CALM]
    distance = np.minimum(*(np.linalg.norm(places - _oklab(np.array([c])), axis=1) for c in (_GREY, _CALM)))
    while len(chosen) < IGNORED_LABEL:
        farthest = int(distance.argmax())
        red, green, blue = candidates[farthest].tolist()
        chosen.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(places - places[farthest], axis=1))
    return (*chosen, _GREY)


def _moderate_colours() -> NDArray[np.int64]:
    """Return colours (N, 3) of a regular grid, without dark, very light, greyish and glaring ones."""
    grid = np.indices((16, 16, 16)).reshape(3, -1).T * 17
    lightness, green_red, blue_yellow = _oklab(grid).T
    chroma = np.hypot(green_red, blue_yellow)
    moderate: NDArray[np.int64] = grid[
        (lightness > 0.5) & (lightness < 0.92) & (chroma > 0.06) & (chroma < 0.18)
    ]
    return moderate


def _oklab(colours: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sRGB colours (N, 3) as lightness and two opponent axes. Source: Ottosson, OKLab (2020)."""
    shares = colours / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    lab: NDArray[np.float64] = np.cbrt(linear @ np.array(to_cones).T) @ np.array(to_lab).T
    return lab


def _stacked(parts: Sequence[Image.Image]) -> Image.Image:
    """Return a picture of the parts below each other."""
    sheet = Image.new("RGB", (_WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _headings() -> Image.Image:
    strip = Image.new("RGB", (_WIDTH, _MARGIN + _LINE), "white")
    pen = ImageDraw.Draw(strip)
    for left, heading in zip(_lefts(), PANEL_HEADINGS, strict=True):
        pen.text((left + PANEL_SIDE // 2, _MARGIN), heading, "black", _font(), anchor="ma")
    return strip


def _lefts() -> Iterable[int]:
    """Return the left edges of the columns."""
    return range(_MARGIN, _WIDTH - _MARGIN, PANEL_SIDE + _GAP)


def _panels(sample: SegmentationSample) -> Image.Image:
    """Return the three pictures of a sample, each in the middle of its column."""
    colours = sample.colours()
    pictures = [
        _fitted(sample.image.convert("RGB"), Image.Resampling.LANCZOS),
        _fitted(colour_labels(sample.label, colours), Image.Resampling.NEAREST),
        _fitted(colour_labels(sample.prediction, colours), Image.Resampling.NEAREST),
    ]
    strip = Image.new("RGB", (_WIDTH, pictures[0].height), "white")
    for left, picture in zip(_lefts(), pictures, strict=True):
        strip.paste(picture, (left + (PANEL_SIDE - picture.width) // 2, 0))
    return strip


def _fitted(picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """Return the picture with a longest side of PANEL_SIDE pixels."""
    scale = PANEL_SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), resampling)


def colour_labels(labels: LabelMap, colours: Sequence[RgbColour]) -> Image.Image:
    """Return labels (H, W) as an RGB picture."""
    return Image.fromarray(np.array(colours, np.uint8)[np.asarray(labels)])


def _legend(sample: SegmentationSample) -> Image.Image:
    """Return a chip and a name for each class that occurs, on as many lines as that takes."""
    colours = sample.colours()
    entries = [(colours[label], sample.name(label)) for label in sample.occurring()]
    places = _flowing([_CHIP + _GAP + round(_font().getlength(name)) for _, name in entries])
    strip = Image.new("RGB", (_WIDTH, places[-1][1] + _LINE + _MARGIN), "white")
    pen = ImageDraw.Draw(strip)
    for (left, top), (colour, name) in zip(places, entries, strict=True):
        pen.rectangle((left, top, left + _CHIP - 1, top + _CHIP - 1), colour)
        pen.text((left + _CHIP + _GAP, top + _CHIP // 2), name, "black", _font(), anchor="lm")
    return strip


def _flowing(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return left and top of entries of these widths, in lines that end at the sheet's margin."""
    places = []
    left, top = _MARGIN, _GAP
    for width in widths:
        if left + width > _WIDTH - _MARGIN and left > _MARGIN:
            left, top = _MARGIN, top + _LINE
        places.append((left, top))
        left += width + 2 * _MARGIN
    return places


def _short(name: str) -> str:
    return name if len(name) <= MAX_CLASS_NAME else name[: MAX_CLASS_NAME - 1] + "…"


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)
