"""Verification that an image is whole, without torch, so that many processes can do it at once."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from cosmos.errors import DamagedDataError

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are decoded. Pillow knows more, some of which start other programs (EPS)."""

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif", "jpe")
"""Extensions, in lower case, of files in these formats; of a sample that has several, the first counts."""

IMAGE_SUFFIXES = frozenset(f".{extension}" for extension in IMAGE_EXTENSIONS)

UNREAD_SUFFIXES = frozenset(
    {
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".j2k",
        ".svg",
        ".psd",
        ".tga",
        ".ppm",
        ".pgm",
        ".ico",
        ".exr",
    }
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}
)
"""Suffixes, in lower case, of images in formats that are not decoded."""

UNREAD_REMEDY = "convert them to JPEG, PNG or WebP"


def verify_image(where: str, image: bytes, max_pixels: int) -> None:
    """Check that `image` can be decoded.

    Raises DamagedDataError, naming `where`, when it is no image, cut off, or has more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(image), formats=IMAGE_FORMATS)
        problem = _problem(picture, max_pixels)
        if not problem:
            # At an eighth of its size a JPEG decodes two to three times as fast; every byte is still read.
            picture.draft("RGB", (1, 1))
            picture.load()
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        problem = undecodable(error)
    if problem:
        raise DamagedDataError(f"{where}: image {problem}")


def undecodable(error: Exception) -> str:
    """Return the problem of an image for which Pillow raised `error`, the same in every process."""
    if isinstance(error, UnidentifiedImageError):  # whose message holds an address in memory
        return f"cannot be decoded (in none of the formats {', '.join(IMAGE_FORMATS)})"
    return f"cannot be decoded ({error or type(error).__name__})"


def _problem(picture: Image.Image, max_pixels: int) -> str:
    if picture.width * picture.height > max_pixels:
        return f"of {picture.width} x {picture.height} pixels; data.max_pixels allows {max_pixels}"
    return "has pixels of 32 bits, of unknown range" if picture.mode in ("I", "F") else ""
