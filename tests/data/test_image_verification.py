import io

import pytest
from PIL import Image

from cosmos.data.image_verification import verify_image
from cosmos.errors import DamagedDataError
from tests.data.examples import image_bytes

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
