"""Contact sheet: thumbnails of samples with their captions, to see what is in a dataset."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from cosmos.data.image_decoding import decode_image
from cosmos.data.sample import Sample
from cosmos.data.text_crops import sentence_pool
from cosmos.errors import DamagedDataError, InputError

THUMBNAIL_SIDE = 160
"""Side of a thumbnail, in pixels."""
MAX_CAPTION_LINES = 8
"""Largest number of lines of a caption, which is cut after them."""

_MARGIN = 10
_FONT_SIZE = 12
_LINE = 15
_CELL = (THUMBNAIL_SIDE + _MARGIN, THUMBNAIL_SIDE + MAX_CAPTION_LINES * _LINE + 2 * _MARGIN)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(samples: Sequence[Sample], max_pixels: int, columns: int = 6) -> Image.Image:
    """Return thumbnails in rows of `columns`, each above a caption of its sample: the raw one if it has one.

    Works for every form of annotation. Characters that the font lacks are drawn as boxes. Images are decoded
    as for training, of at most `max_pixels` pixels.
    Raises InputError without samples or columns, and DamagedDataError, which names the sample, when an
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
        sheet.paste(_thumbnail(sample, max_pixels), (left, top))
        for line, words in enumerate(_caption_lines(sample, font)):
            pen.text((left, top + THUMBNAIL_SIDE + 5 + line * _LINE), words, fill="black", font=font)
    return sheet


def _font() -> Font:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", _FONT_SIZE)  # knows more scripts than Pillow's own
    except OSError:
        return ImageFont.load_default(_FONT_SIZE)


def _thumbnail(sample: Sample, max_pixels: int) -> Image.Image:
    """Return the whole image on a square of light grey."""
    try:
        image = decode_image(sample.image, max_pixels, THUMBNAIL_SIDE)
    except DamagedDataError as error:
        raise DamagedDataError(f"{sample.key}: {error}") from error
    return ImageOps.pad(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), color=(235, 235, 235))


def _caption_lines(sample: Sample, font: Font) -> list[str]:
    try:
        caption = sentence_pool(sample.annotation, "textcrop")[0]
    except DamagedDataError as error:
        raise DamagedDataError(f"{sample.key}: {error}") from error
    return wrap_caption(_printable_words(caption), font)


def _printable_words(caption: str) -> str:
    """Return the caption without line breaks, control characters and halves of surrogate pairs."""
    return " ".join("".join(char if char.isprintable() else " " for char in caption).split())


def wrap_caption(caption: str, font: Font, width: int = THUMBNAIL_SIDE) -> list[str]:
    """Return at most MAX_CAPTION_LINES lines of a caption, no wider than `width` pixels.

    They are broken at spaces or, in longer words, anywhere. An ellipsis ends what had to be cut.
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
    """Return the number of leading characters of the text that fit into `width` pixels, at least one."""
    end = 1
    while end < len(text) and font.getlength(text[: end + 1]) <= width:
        end += 1
    return end
