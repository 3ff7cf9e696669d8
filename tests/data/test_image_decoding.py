import ast
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos.data.image_decoding import decode_image, verify_image
from cosmos.data.sample import Sample
from cosmos.errors import DamagedDataError
from cosmos.evaluation.images import ImageFiles
from cosmos.report.contact_sheet import contact_sheet
from tests.data.examples import image_bytes
from tests.data.test_image_crops import encoded, photograph

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_images_pass(kind: str) -> None:
    verify_image("x", image_bytes(kind=kind), 24 * 20)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_cut_off_is_refused(kind: str) -> None:
    whole = image_bytes(kind=kind, size=(100, 100))
    with pytest.raises(DamagedDataError, match=r"^x: image cannot be decoded"):
        verify_image("x", whole[: len(whole) // 2], 10**6)


def test_a_jpeg_that_lacks_its_last_tenth_is_refused() -> None:
    whole = image_bytes(size=(200, 200))
    with pytest.raises(DamagedDataError):
        verify_image("x", whole[: len(whole) * 9 // 10], 10**6)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedDataError, match=r"^x: image cannot be decoded"):
        verify_image("x", content, 100)


def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(DamagedDataError, match=r"24 x 20 pixels; data.max_pixels allows 479"):
        verify_image("x", image_bytes(), 479)


def test_pixels_of_unknown_range_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("F", (4, 4)).save(buffer, "TIFF")
    with pytest.raises(DamagedDataError, match="32 bits"):
        verify_image("x", buffer.getvalue(), 100)


def test_an_rgb_image_keeps_its_pixels() -> None:
    image = decode_image(encoded(photograph()), max_pixels=10_000)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(photograph()))


@pytest.mark.parametrize(("mode", "form"), [("L", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("CMYK", "JPEG")])
def test_other_modes_become_rgb(mode: str, form: str) -> None:
    original = photograph().convert(mode)
    image = decode_image(encoded(original, form), max_pixels=10_000)
    assert image.mode == "RGB"
    difference = np.asarray(image, int) - np.asarray(original.convert("RGB"), int)
    assert np.abs(difference).mean() < 4


def test_a_palette_with_transparency_gives_its_colours_without_a_warning() -> None:
    palette = photograph().quantize(8)
    data = encoded(palette, transparency=bytes([0, 128, *[255] * 6]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode_image(data, max_pixels=10_000)
    assert np.array_equal(np.asarray(image), np.asarray(palette.convert("RGB")))


def test_sixteen_bits_of_grey_become_the_upper_eight() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 7
    image = decode_image(encoded(Image.fromarray(grey)), max_pixels=10_000)
    assert np.array_equal(np.asarray(image)[:, :, 0].ravel(), np.arange(256))


def test_exif_does_not_turn_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode_image(encoded(photograph(), "JPEG", exif=exif), max_pixels=10_000)
    assert image.size == (90, 60)


def test_a_truncated_file_is_damaged() -> None:
    data = encoded(photograph(), "JPEG")
    with pytest.raises(DamagedDataError, match=r"cannot be decoded \(.*truncated"):
        decode_image(data[: len(data) // 2], max_pixels=10_000)


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedDataError, match="cannot be decoded") as refusal:
        decode_image(data, max_pixels=10_000)
    assert " at 0x" not in str(refusal.value)


def test_a_format_that_starts_other_programs_is_not_tried() -> None:
    with pytest.raises(DamagedDataError, match="cannot be decoded"):
        decode_image(encoded(photograph(), "EPS"), max_pixels=10_000)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(DamagedDataError, match=r"90 x 60 pixels; data\.max_pixels allows 5399"):
        decode_image(encoded(photograph()), max_pixels=5399)


def test_a_decompression_bomb_is_refused_without_a_warning() -> None:
    bomb = encoded(Image.new("1", (12_000, 9_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedDataError, match="12000 x 9000 pixels"):
            decode_image(bomb, max_pixels=50_000_000)


EXIF = Image.Exif()
EXIF[0x0112] = 6
SMALL = photograph(45, 30)
UNUSUAL = {
    "turned by EXIF": encoded(photograph(), "JPEG", exif=EXIF),
    "a PNG turned by EXIF": encoded(photograph(), exif=EXIF),
    "of two pictures (MPO)": encoded(photograph(), "MPO", save_all=True, append_images=[SMALL]),
    "CMYK": encoded(photograph().convert("CMYK"), "JPEG"),
    "16 bits of grey": encoded(Image.fromarray(np.full((60, 90), 40_000, np.uint16))),
    "an animated GIF": encoded(
        photograph(), "GIF", save_all=True, append_images=[Image.new("RGB", (90, 60))]
    ),
    "an animated WebP": encoded(photograph(), "WEBP", save_all=True, append_images=[photograph().rotate(9)]),
    "transparent": encoded(photograph().convert("RGBA")),
    "with a profile that is none": encoded(photograph(), "JPEG", icc_profile=b"no profile"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_training_evaluation_and_pictures_for_people_see_the_same_pixels(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(UNUSUAL[kind])
    verify_image("x", UNUSUAL[kind], 10_000)
    trained = decode_image(UNUSUAL[kind], 10_000)
    evaluated = ImageFiles(tmp_path, (tmp_path / "a.jpg",), 10_000).read(0)
    assert np.array_equal(np.asarray(trained), np.asarray(evaluated))
    assert trained.size == (90, 60)
    shown, expected = (
        np.asarray(contact_sheet([Sample("x", content, {"captions": ["."]})], 10_000), int)
        for content in (UNUSUAL[kind], encoded(trained))
    )
    assert np.abs(shown - expected).mean() < 1


def signed(name: bytes) -> bytes:
    return b"\0\0\0\x1cftyp" + name + b"\0" * 60


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (signed(b"heic"), "it is HEIC; convert it to JPEG, PNG or WebP"),
        (signed(b"mif1"), "it is HEIC"),
        (signed(b"avif"), "it is AVIF; convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "it is EPS"),
        (b"\n<!DOCTYPE html><title>404</title>", "it is HTML"),
        (b"<svg/>", "it is SVG or XML"),
        (b"", "it is empty"),
        (b"\0" * 999, "in none of the formats JPEG, PNG"),
    ],
)
def test_what_is_not_decoded_is_named(content: bytes, name: str) -> None:
    for read in (lambda: decode_image(content, 9), lambda: verify_image("x", content, 9)):
        with pytest.raises(DamagedDataError) as caught:
            read()
        assert f"image cannot be decoded ({name}" in str(caught.value)


OPENERS = ("Image.open", "io.read_image", "io.decode_image", "decode_jpeg", "decode_png", "imread")


def calls(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


OPENS_OWN_PICTURES = "cosmos/tracking/session.py"
"""Module that opens pictures which a report has drawn, and may not import this room."""


def test_no_other_module_opens_pictures() -> None:
    root = Path(__file__).parents[2]
    openers = {
        str(file.relative_to(root))
        for file in [*root.glob("cosmos/**/*.py"), *root.glob("flows/**/*.py")]
        if any(call.endswith(OPENERS) for call in calls(file))
    }
    assert openers == {"cosmos/data/image_decoding.py", OPENS_OWN_PICTURES}
