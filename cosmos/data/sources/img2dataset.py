"""Output of img2dataset: images with their URLs, as files in folders or in webdataset's tars."""

from pathlib import Path
from typing import NamedTuple

from cosmos.data.manifest import Skipped
from cosmos.data.shards.index import MAX_ANNOTATION_BYTES, TarEntry, scan_tar
from cosmos.data.shards.samples import parse_annotation
from cosmos.data.sources.inputs import ByteSpan, files_below
from cosmos.errors import DamagedDataError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


class Download(NamedTuple):
    """A downloaded image."""

    url: str
    key: str
    image: ByteSpan


class Downloads(NamedTuple):
    """Downloaded images in the order of their paths, and those without a readable URL."""

    images: list[Download]
    skipped: list[Skipped]


def find_downloads(folder: Path) -> Downloads:
    """List all images below img2dataset's output folder, in either of its formats.

    Images without JSON beside them are passed over, and so is JSON without an image: links that were dead.
    Raises TransientError when the disk fails.
    """
    downloads = Downloads([], [])
    for path in files_below(folder):
        if path.suffix == ".tar":
            _add_tar(downloads, path)
        elif path.suffix == ".json" and (image := _image_beside(path)):
            _add(downloads, path.stem, ByteSpan(str(image)), ByteSpan(str(path)))
    return downloads


def _add_tar(downloads: Downloads, path: Path) -> None:
    try:
        for entry in scan_tar(path):
            image, annotation = image_span(entry), entry.parts.get("json")
            if image and annotation:
                key = f"{path.stem}-{entry.key}"
                _add(downloads, key, ByteSpan(str(path), *image), ByteSpan(str(path), *annotation))
    except DamagedDataError as error:
        downloads.skipped.append(Skipped(str(path), str(error)))


def _add(downloads: Downloads, key: str, image: ByteSpan, annotation: ByteSpan) -> None:
    try:
        downloads.images.append(Download(_url(annotation), key, image))
    except DamagedDataError as error:
        downloads.skipped.append(Skipped(f"{annotation.path}: {key}", str(error)))


def _url(annotation: ByteSpan) -> str:
    value = parse_annotation(annotation.read(MAX_ANNOTATION_BYTES), is_text=False)
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        raise DamagedDataError("its JSON has no url; expected what img2dataset writes")
    return url


def image_span(entry: TarEntry) -> tuple[int, int] | None:
    """Return (offset, size) of the image among the members of a sample; None where there is none."""
    return next((entry.parts[name] for name in IMAGE_EXTENSIONS if name in entry.parts), None)


def _image_beside(path: Path) -> Path | None:
    candidates = (path.with_suffix(f".{extension}") for extension in IMAGE_EXTENSIONS)
    return next((image for image in candidates if image.is_file()), None)
