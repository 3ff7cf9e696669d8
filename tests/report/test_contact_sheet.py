import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from cosmos.data.sample import Sample
from cosmos.errors import DamagedDataError
from cosmos.report.contact_sheet import MAX_CAPTION_LINES, THUMBNAIL_SIDE, contact_sheet, wrap_caption

MAX_PIXELS = 1_000_000

FONT = ImageFont.load_default(12)


def encoded(
    colour: str = "red", size: tuple[int, int] = (40, 20), mode: str = "RGB", form: str = "PNG"
) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(file, form)
    return file.getvalue()


def sample(annotation: dict[str, Any], image: bytes = encoded(), key: str = "one") -> Sample:
    return Sample(key, image, annotation)


@pytest.mark.parametrize(
    "annotation",
    [
        {"raw_caption": ["a red square"], "longIB_captions": []},
        {"original_caption": "a red square", "caption": "x"},
        {"captions": ["a red square", "a square"]},
        {"raw_caption": [], "longIB_captions": ["a red square", "a square"]},
        {"original_caption": "", "caption": "a red square. A square."},
    ],
)
def test_every_form_of_annotation_shows_its_raw_caption_or_else_its_first(annotation: dict[str, Any]) -> None:
    expected = contact_sheet([sample({"captions": ["a red square"]})], MAX_PIXELS)
    assert np.array_equal(np.asarray(contact_sheet([sample(annotation)], MAX_PIXELS)), np.asarray(expected))
    assert not np.array_equal(
        np.asarray(contact_sheet([sample({"captions": ["a blue square"]})], MAX_PIXELS)), np.asarray(expected)
    )


def test_thumbnails_lie_in_rows_of_the_columns_asked_for() -> None:
    colours = ["red", "lime", "blue", "black", "yellow"]
    samples = [sample({"captions": ["."]}, encoded(colour, (30, 30))) for colour in colours]
    sheet = contact_sheet(samples, MAX_PIXELS, columns=2)
    width, height = (sheet.width - 10) // 2, (sheet.height - 10) // 3
    for number, colour in enumerate(colours):
        row, column = divmod(number, 2)
        middle = (10 + column * width + THUMBNAIL_SIDE // 2, 10 + row * height + THUMBNAIL_SIDE // 2)
        assert sheet.getpixel(middle) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_a_wide_image_is_shown_whole() -> None:
    sheet = contact_sheet([sample({"captions": ["."]}, encoded("red", (400, 100)))], MAX_PIXELS)
    red = (np.asarray(sheet) == (255, 0, 0)).all(axis=2)
    assert np.flatnonzero(red.any(axis=0)).size == THUMBNAIL_SIDE
    assert np.flatnonzero(red.any(axis=1)).size == THUMBNAIL_SIDE // 4


@pytest.mark.parametrize(("mode", "form"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("RGBA", "PNG")])
def test_images_of_every_mode_are_shown(mode: str, form: str) -> None:
    contact_sheet([sample({"captions": ["."]}, encoded(mode=mode, form=form))], MAX_PIXELS)


@given(st.text(st.characters(), min_size=1).filter(lambda caption: caption.strip()))
@settings(max_examples=60, deadline=None)
def test_any_unicode_can_stand_in_a_caption(caption: str) -> None:
    contact_sheet([sample({"captions": [caption]})], MAX_PIXELS)


@pytest.mark.parametrize(
    "caption", ["\ud800", "\x00\x1b[31m", "‮abc", "日本語" * 200, "👩‍👩‍👧‍👦 e\u0301", "a" * 9999]
)
def test_captions_from_strangers_are_drawn_without_harm(caption: str) -> None:
    contact_sheet([sample({"captions": [caption]})], MAX_PIXELS)


@given(st.text("ab cde", max_size=400), st.integers(40, 300))
@settings(max_examples=60, deadline=None)
def test_wrapped_lines_fit_and_lose_no_word_unless_an_ellipsis_says_so(caption: str, width: int) -> None:
    caption = " ".join(caption.split())
    lines = wrap_caption(caption, FONT, width)
    assert len(lines) <= MAX_CAPTION_LINES
    assert all(FONT.getlength(line) <= width for line in lines)
    if not (lines and lines[-1].endswith("…")):
        assert "".join(lines).replace(" ", "") == caption.replace(" ", "")


def test_lines_break_at_spaces() -> None:
    assert wrap_caption("one two three", FONT, int(FONT.getlength("one two t"))) == ["one two", "three"]


def test_an_image_that_cannot_be_decoded_is_named() -> None:
    for image in (b"", b"not an image", encoded(form="JPEG", size=(300, 300))[:500]):
        with pytest.raises(DamagedDataError, match="the-key: image cannot be decoded"):
            contact_sheet([sample({"captions": ["."]}, image, key="the-key")], MAX_PIXELS)


def test_an_image_of_too_many_pixels_is_named_and_not_decoded() -> None:
    header = bytearray(encoded(form="GIF"))
    header[6:10] = b"\xff\xff\xff\xff"  # claims 65535 x 65535 pixels
    with pytest.raises(DamagedDataError, match=r"the-key: image cannot be decoded .*4294836225 pixels"):
        contact_sheet([sample({"captions": ["."]}, bytes(header), key="the-key")], MAX_PIXELS)


def test_a_sample_without_a_caption_is_named() -> None:
    with pytest.raises(DamagedDataError, match="the-key: "):
        contact_sheet([sample({"captions": []}, key="the-key")], MAX_PIXELS)


def test_a_sheet_of_nothing_or_without_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 6"):
        contact_sheet([], MAX_PIXELS)
    with pytest.raises(ValueError, match="got 1 and 0"):
        contact_sheet([sample({"captions": ["."]})], MAX_PIXELS, columns=0)
