"""Output of img2dataset: images with their URLs, as files in folders or in webdataset's tars."""

from pathlib import Path
from typing import Any, NamedTuple

from cosmos.data.folders import walk_files
from cosmos.data.image_decoding import IMAGE_EXTENSIONS, IMAGE_SUFFIXES
from cosmos.data.manifest import Skipped
from cosmos.data.shards.index import MAX_ANNOTATION_BYTES
from cosmos.data.shards.samples import parse_annotation
from cosmos.data.shards.tar_entries import TarEntry, scan_tar
from cosmos.data.sources.inputs import ByteSpan
from cosmos.errors import DamagedDataError


class Download(NamedTuple):
    """A downloaded image."""

    url: str
    key: str
    image: ByteSpan


class Downloads(NamedTuple):
    """Downloaded images in the order of their paths, and what else there is."""

    images: list[Download]
    skipped: list[Skipped]
    """downloads that cannot be used, such as those without a readable URL"""
    lonely: list[Path]
    """images without JSON beside them, sorted: not of img2dataset, unless their JSON is missing"""
    archives: list[Path]
    """tars among the files"""
    broken: list[Skipped]
    """those of the archives that cannot be read whole, with reasons"""


def find_downloads(folder: Path) -> Downloads:
    """List all images below img2dataset's output folder, in either of its formats.

    JSON that tells of a success and has no image beside it is a skipped input; that of dead links is passed
    over. Raises InputError for a folder that cannot be listed, TransientError when the disk fails.
    """
    downloads = Downloads([], [], [], [], [])
    files = sorted(walk_files(folder))
    images = _images_by_stem(files)
    for path in files:
        if path.suffix == ".tar":
            downloads.archives.append(path)
            _add_tar(downloads, path)
        elif path.suffix == ".json":
            image = images.pop(str(path.with_suffix("")), None)
            _add(downloads, path.stem, ByteSpan(str(image)) if image else None, ByteSpan(str(path)))
    downloads.lonely.extend(sorted(images.values()))
    return downloads


def _images_by_stem(files: list[Path]) -> dict[str, Path]:
    """Return the images by their path without its suffix; of several, the one of the first extension."""
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    images.sort(key=lambda path: IMAGE_EXTENSIONS.index(path.suffix.lower()[1:]), reverse=True)
    return {str(path.with_suffix("")): path for path in images}


def _add_tar(downloads: Downloads, path: Path) -> None:
    try:
        for entry in scan_tar(path):
            image, annotation = image_span(entry), entry.parts.get("json")
            key = f"{path.stem}-{entry.key}"
            if annotation:
                _add(downloads, key, image and ByteSpan(str(path), *image), ByteSpan(str(path), *annotation))
            elif image:
                downloads.skipped.append(Skipped(f"{path}: {entry.key}", "no .json beside it"))
    except DamagedDataError as error:
        downloads.broken.append(Skipped(str(path), str(error)))


def _add(downloads: Downloads, key: str, image: ByteSpan | None, annotation: ByteSpan) -> None:
    """Add a download, whose `image` is None where there is none."""
    try:
        content = parse_annotation(annotation.read(MAX_ANNOTATION_BYTES), is_text=False)
        if image is not None:
            downloads.images.append(Download(_url(content), key, image))
        elif isinstance(content, dict) and content.get("status") == "success":
            raise DamagedDataError("it was downloaded, but no image is beside it")
    except DamagedDataError as error:
        downloads.skipped.append(Skipped(f"{annotation.path}: {key}", str(error)))


def _url(content: Any) -> str:
    url = content.get("url") if isinstance(content, dict) else None
    if not isinstance(url, str):
        raise DamagedDataError("its JSON has no url; expected what img2dataset writes")
    return url


def image_span(entry: TarEntry) -> tuple[int, int] | None:
    """Return (offset, size) of the image among the members of a sample; None where there is none."""
    return next((entry.parts[name] for name in IMAGE_EXTENSIONS if name in entry.parts), None)
