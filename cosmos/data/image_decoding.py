"""Images of strangers: their formats, and the one way to open, decode and verify them, without torch.

An image is decoded as stored: its first frame, not turned by EXIF, not blended with a background, its
colours not corrected by a profile. Training, evaluation, masks and pictures for people see the same pixels.
"""

import io
import re
import warnings

import numpy as np
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

_UNREAD_SIGNATURES = {
    "HEIC": rb"....ftyp(hei|hev|mif1|msf1)",
    "AVIF": rb"....ftypavi",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "PSD": rb"8BPS",
    "EPS": rb"%!PS",
    "PDF": rb"%PDF",
    "SVG or XML": rb"\s*<(svg|\?xml)",
    "HTML": rb"\s*<(!doctype )?html",
}
"""Beginnings of files that are no images, or in formats that are not decoded: an error names them."""


def open_image(content: bytes, formats: tuple[str, ...] = IMAGE_FORMATS) -> Image.Image:
    """Return the first frame of an encoded image, of which only the header was read.

    Raises DamagedDataError ("cannot be decoded (REASON)") for what is no image in one of the `formats`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:  # whose message holds an address in memory
        raise _undecodable(_describe_unidentified(content, formats)) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise _undecodable(error) from None


def decode_image(content: bytes, max_pixels: int, side: int = 0) -> Image.Image:
    """Decode the RGB image in `content`, as stored; with a `side`, perhaps smaller, but no less than that.

    Raises DamagedDataError for what is no image, is cut off or has more than `max_pixels` pixels.
    """
    image = _open_checked(content, max_pixels)
    try:
        if side:
            image.draft("RGB", (side, side))  # of a large JPEG, at a fraction of the time
        return _to_rgb(image)
    except Exception as error:
        raise DamagedDataError(f"image {_undecodable(error)}") from error


def verify_image(where: str, content: bytes, max_pixels: int) -> None:
    """Check that `decode_image` can decode `content`, in less time.

    Raises DamagedDataError, naming `where`, when it is no image, cut off, or has more than `max_pixels`.
    """
    try:
        image = _open_checked(content, max_pixels)
        try:
            # At an eighth of its size a JPEG decodes two to three times as fast; every byte is still read.
            image.draft("RGB", (1, 1))
            image.load()
        except Exception as error:
            raise DamagedDataError(f"image {_undecodable(error)}") from None
    except DamagedDataError as error:
        raise DamagedDataError(f"{where}: {error}") from None


def _open_checked(content: bytes, max_pixels: int) -> Image.Image:
    """Open an image. Raises DamagedDataError for what `decode_image` does not decode."""
    try:
        image = open_image(content)
    except DamagedDataError as error:
        raise DamagedDataError(f"image {error}") from None
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        raise DamagedDataError(f"image of {size} pixels; data.max_pixels allows {max_pixels}")
    if image.mode in ("I", "F"):
        raise DamagedDataError("image has pixels of 32 bits, of unknown range")
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip 16 bits to 255 and leave a white image.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":
        # A palette may be transparent in parts, of which Pillow warns unless it can keep them.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _undecodable(problem: object) -> DamagedDataError:
    """Return the error of an image for a problem or an error of Pillow's."""
    text = str(problem) or type(problem).__name__
    return DamagedDataError(f"cannot be decoded ({text})")


def _describe_unidentified(content: bytes, formats: tuple[str, ...]) -> str:
    """Return the reason why no decoder knows a file, the same in every process."""
    for name, signature in _UNREAD_SIGNATURES.items():
        if re.match(signature, content, re.DOTALL | re.IGNORECASE):
            return f"it is {name}; {UNREAD_REMEDY.replace('them', 'it')}"
    return f"in none of the formats {', '.join(formats)}" if content else "it is empty"
