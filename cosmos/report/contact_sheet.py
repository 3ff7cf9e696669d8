"""A sheet of thumbnails with their captions, to see what is in a dataset."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from cosmos.data.sample import Sample
from cosmos.data.text_crops import sentence_pool
from cosmos.errors import DamagedDataError, InputError

THUMBNAIL_SIDE = 160
"""side of a thumbnail, in pixels"""
MAX_CAPTION_LINES = 8
"""lines of a caption; what is longer is cut"""
MAX_DECODED_PIXELS = 100_000_000
"""an image of more pixels is not decoded"""

_MARGIN = 10
_FONT_SIZE = 12
_LINE = 15
_CELL = (THUMBNAIL_SIDE + _MARGIN, THUMBNAIL_SIDE + MAX_CAPTION_LINES * _LINE + 2 * _MARGIN)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(samples: Sequence[Sample], columns: int = 6) -> Image.Image:
    """Thumbnails in rows of `columns`, each with a caption of the sample below it: its raw one if it has one.

    Works for every form of annotation. Characters that the font lacks are drawn as boxes.
    Raises ValueError without samples or columns, and DamagedDataError, which names the sample, when an
    image cannot be decoded or a sample has no caption.
    """
    if not samples or columns < 1:
        raise InputError(f"a contact sheet needs samples and columns; got {len(samples)} and {columns}")
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (columns * _CELL[0] + _MARGIN, rows * _CELL[1] + _MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    for number, sample in enumerate(samples):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * _CELL[0], _MARGIN + row * _CELL[1]
        sheet.paste(_thumbnail(sample), (left, top))
        for line, words in enumerate(_caption_lines(sample, font)):
            pen.text((left, top + THUMBNAIL_SIDE + 5 + line * _LINE), words, fill="black", font=font)
    return sheet


def _font() -> Font:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", _FONT_SIZE)  # knows more scripts than Pillow's own
    except OSError:
        return ImageFont.load_default(_FONT_SIZE)


def _thumbnail(sample: Sample) -> Image.Image:
    """The image, whole, on a square of light grey."""
    try:
        with Image.open(io.BytesIO(sample.image)) as image:
            if image.width * image.height > MAX_DECODED_PIXELS:
                raise InputError(f"{image.width} x {image.height} pixels are more than {MAX_DECODED_PIXELS}")
            image.draft(
                "RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
            )  # decodes a large JPEG at a fraction of its size
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # decoders raise errors of many kinds on damaged or hostile files
        raise DamagedDataError(f"{sample.key}: image cannot be shown: {error}") from error
    return ImageOps.pad(upright, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), color=(235, 235, 235))


def _caption_lines(sample: Sample, font: Font) -> list[str]:
    try:
        caption = sentence_pool(sample.annotation, "textcrop")[0]
    except DamagedDataError as error:
        raise DamagedDataError(f"{sample.key}: {error}") from error
    return wrap_caption(_printable(caption), font)


def _printable(caption: str) -> str:
    """The caption without line breaks, control characters and halves of surrogate pairs."""
    return " ".join("".join(char if char.isprintable() else " " for char in caption).split())


def wrap_caption(caption: str, font: Font, width: int = THUMBNAIL_SIDE) -> list[str]:
    """At most MAX_LINES lines no wider than `width` pixels, broken at spaces or, in longer words, anywhere.

    An ellipsis ends what had to be cut.
    """
    lines: list[str] = []
    rest = caption
    while rest and len(lines) < MAX_CAPTION_LINES:
        fitting = _fitting(rest, font, width)
        last_space = rest.rfind(" ", 0, fitting + 1)
        end = last_space if fitting < len(rest) and last_space > 0 else fitting
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        lines[-1] = lines[-1][: _fitting(lines[-1], font, width - int(font.getlength("…")))].rstrip() + "…"
    return lines


def _fitting(text: str, font: Font, width: int) -> int:
    """How many leading characters of the text fit into `width` pixels, at least one."""
    end = 1
    while end < len(text) and font.getlength(text[: end + 1]) <= width:
        end += 1
    return end
