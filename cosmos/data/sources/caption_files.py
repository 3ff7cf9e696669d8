"""Caption files of the usual datasets -> images with their captions.

The files are strangers': sizes are capped, and `path_below` keeps an image's path inside its folder.
"""

import io
import json
import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cosmos.config.disk_reading import exists, open_regular
from cosmos.data.captions import clean_captions
from cosmos.data.sources.csv_rows import csv_rows, decoded_lines
from cosmos.errors import CosmosError, InputError, convert_os_error

MAX_JSON_BYTES = 4 * 2**30
MAX_TEXT_BYTES = 64 * 2**20
"""Largest files that are read; text is lists of names, questions or examples."""

MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 3000
"""Longest names, and paths below a folder, that file systems have."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptionedImage:
    """An image file and its captions."""

    image: str
    """path below the folder of images"""
    captions: tuple[str, ...]


def path_below(folder: Path, name: str) -> Path:
    """Return the file `name` (with `/` between its parts) in `folder`.

    Raises InputError when it would lie outside.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name or "\\" in name:
        raise InputError(f"{name!r:.200}: not a path below {folder}")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise InputError(f"{name!r:.200}...: longer than the name of a file can be")
    return folder / name


def locate_below(folder: Path, name: str) -> Path:
    """Return the file `name` in `folder`, also one whose name is in another of Unicode's normal forms.

    A Mac writes `é` as two characters, and other systems as one. Raises InputError as `path_below`.
    """
    path = path_below(folder, name)
    if name.isascii() or exists(path):
        return path
    forms = (path_below(folder, unicodedata.normalize(form, name)) for form in ("NFC", "NFD"))
    return next(filter(exists, forms), path)


def read_captions_csv(path: Path) -> list[CaptionedImage]:
    """Read a CSV with the header `image,caption` (Flickr8k's), a caption per row.

    Rows of an image belong together wherever they are; images come in the order of their first rows.
    Images without captions are left out, with a warning that counts them. Raises InputError that names file
    and line, TransientError when the disk fails.
    """
    return drop_uncaptioned(path, parse_captions_csv(path))


def read_coco(path: Path) -> list[CaptionedImage]:
    """Read a COCO captions JSON: `images` with id, file_name; `annotations` with image_id, caption.

    All captions are kept. Images without captions are left out, with a warning that counts them. Raises
    InputError that names file and entry, TransientError when the disk fails.
    """
    return drop_uncaptioned(path, parse_coco(path))


def read_flickr30k(path: Path) -> list[CaptionedImage]:
    """Read a JSON list of `{"image": ..., "caption": [...]}`.

    Images without captions are left out, with a warning that counts them. Raises InputError that names file
    and entry, TransientError when the disk fails.
    """
    return drop_uncaptioned(path, parse_flickr30k(path))


def read_karpathy(path: Path, split: str) -> list[CaptionedImage]:
    """Read one split of a Karpathy-style JSON: `images` with filename, filepath, split, sentences[].raw.

    `restval` belongs to the split `train`, as is usual. Images without captions are left out, with a warning
    that counts them. Raises InputError that names file and entry, and the splits that there are;
    TransientError when the disk fails.
    """
    entries = list(_entries(path, _object(path, load_json_file(path)).get("images"), "images"))
    splits = sorted({_karpathy_split(where, entry) for where, entry in entries})
    if split not in splits:
        raise InputError(f"{path}: no images of split {split!r}; its splits are {', '.join(splits):.200}")
    images = [
        _karpathy_image(where, entry) for where, entry in entries if _karpathy_split(where, entry) == split
    ]
    return drop_uncaptioned(path, _cleaned(path, images))


def drop_uncaptioned(path: Path, images: list[CaptionedImage]) -> list[CaptionedImage]:
    """Return the images that have captions; a warning counts the others. Raises InputError when none has."""
    captioned = [image for image in images if image.captions]
    if not captioned:
        raise InputError(f"{path}: no image with captions in it; is it the right file?")
    if len(captioned) < len(images):
        logger.warning("%s: left out %d images without captions", path, len(images) - len(captioned))
    return captioned


def parse_captions_csv(path: Path) -> list[CaptionedImage]:
    """Read as `read_captions_csv` does, with the images that have no captions."""
    captions: dict[str, list[str]] = {}
    for line, image, caption in _csv_rows(path):
        if not image.strip():
            raise InputError(f"{path}, line {line}: no image in it; correct or remove the line")
        captions.setdefault(image.strip(), []).append(caption)
    return _cleaned(path, list(captions.items()))


def parse_coco(path: Path) -> list[CaptionedImage]:
    """Read as `read_coco` does, with the images that have no captions."""
    content = _object(path, load_json_file(path))
    names: dict[Any, str] = {}
    for where, entry in _entries(path, content.get("images"), "images"):
        identity = _value(where, entry, "id", int | str)
        if identity in names:
            raise InputError(f"{where}: id {identity} is another image's; the file is damaged")
        names[identity] = _name(where, entry, "file_name")
    captions: dict[Any, list[str]] = {identity: [] for identity in names}
    for where, entry in _entries(path, content.get("annotations"), "annotations"):
        identity = _value(where, entry, "image_id", int | str)
        if identity not in captions:
            raise InputError(f"{where}: image_id {identity} is no image's id; the file is damaged")
        captions[identity].append(_value(where, entry, "caption", str))
    _check_unique(path, list(names.values()))
    return _cleaned(path, [(names[key], captions[key]) for key in names])


def parse_flickr30k(path: Path) -> list[CaptionedImage]:
    """Read as `read_flickr30k` does, with the images that have no captions."""
    images = []
    for where, entry in _entries(path, load_json_file(path), ""):
        texts = _value(where, entry, "caption", list | str)
        images.append((_name(where, entry, "image"), texts if isinstance(texts, list) else [texts]))
    _check_unique(path, [name for name, _ in images])
    return _cleaned(path, images)


def load_json_file(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises InputError when it is missing, larger than MAX_JSON_BYTES, or not JSON; TransientError when the
    disk fails.
    """
    text = _load_text(
        path, MAX_JSON_BYTES, "split it into several files", "not JSON", "was it downloaded whole?"
    )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a plain ValueError
        raise InputError(f"{path}: not JSON ({error}); was it downloaded whole?") from None


def load_text_file(path: Path) -> str:
    """Return the content of a small text file in UTF-8.

    Raises InputError when it is missing, larger than MAX_TEXT_BYTES, or in another encoding; TransientError
    when the disk fails.
    """
    return _load_text(path, MAX_TEXT_BYTES, "is it the right file?", "not in UTF-8", "save it as UTF-8")


def _load_text(path: Path, limit: int, remedy_of_size: str, problem: str, remedy: str) -> str:
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size <= limit:
                return io.TextIOWrapper(file, encoding="utf-8-sig").read()
    except OSError as error:
        raise unreadable_file(path, error) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        where = f"line {line}: byte 0x{error.object[error.start]:02x} is no UTF-8"
        raise InputError(f"{path}: {problem} ({where}); {remedy}") from None
    raise InputError(f"{path}: larger than {limit} bytes; {remedy_of_size}")


def unreadable_file(path: Path, error: OSError, remedy: str = "correct the path") -> CosmosError:
    """Return the error of a file that cannot be read: of the path that the user gave, or of the disk."""
    return convert_os_error(error, f"{path}: cannot be read ({error.strerror})", InputError, remedy)


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, image, caption) of the rows below the header `image,caption`, without blank lines."""
    try:
        with open_regular(path) as file:
            rows = csv_rows(path, decoded_lines(path, file))
            header = [name.strip() for name in next(rows, (1, []))[1]]
            if header != ["image", "caption"]:
                raise InputError(f"{path}, line 1: expected the header image,caption, found {header!r:.200}")
            for line, row in rows:
                if row and len(row) != 2:
                    raise InputError(
                        f"{path}, line {line}: {len(row)} fields in place of image and caption; "
                        "put captions that have commas in double quotes"
                    )
                if row:
                    yield line, row[0], row[1]
    except OSError as error:
        raise unreadable_file(path, error) from None


def _entries(parent: Path | str, entries: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where it is, entry) of the objects of the JSON list that `parent` has at `key`."""
    place = f"{parent}: {key}"
    if not isinstance(entries, list):
        raise InputError(f"{place.rstrip(': ')}: expected a list; is it the right kind of captions file?")
    for number, entry in enumerate(entries):
        where = f"{place}[{number}]"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: expected an object, found {type(entry).__name__}")
        yield where, entry


def _object(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object; is it the right kind of captions file?")
    return content


def _value(where: str, entry: dict[str, Any], key: str, kind: Any) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind):
        raise _wrong_value(where, key, value)
    return value


def _name(where: str, entry: dict[str, Any], key: str) -> str:
    name: str = _value(where, entry, key, str)
    if not name:
        raise _wrong_value(where, key, name)
    return name


def _wrong_value(where: str, key: str, value: Any) -> InputError:
    return InputError(f"{where}: {key} is {value!r:.80}; is it the right kind of captions file?")


def _karpathy_split(where: str, entry: dict[str, Any]) -> str:
    split = _name(where, entry, "split")
    return "train" if split == "restval" else split


def _karpathy_image(where: str, entry: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the name of an image and its captions as they stand."""
    folder, name = entry.get("filepath", ""), _name(where, entry, "filename")
    sentences = _entries(where, _value(where, entry, "sentences", list), "sentences")
    captions = [_value(place, sentence, "raw", str) for place, sentence in sentences]
    return (f"{folder}/{name}" if folder else name), captions


def _cleaned(path: Path, captioned: Sequence[tuple[str, list[Any]]]) -> list[CaptionedImage]:
    """Return images with their captions, without empty ones; a warning counts those of images with others."""
    images = [CaptionedImage(name, tuple(clean_captions(texts))) for name, texts in captioned]
    pairs = zip(images, captioned, strict=True)
    if empty := sum(len(texts) - len(image.captions) for image, (_, texts) in pairs if image.captions):
        logger.warning("%s: left out %d empty captions of images that have others", path, empty)
    return images


def _check_unique(path: Path, names: list[str]) -> None:
    """Raise InputError, which names the entries, for an image that is there twice."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in seen:
            raise InputError(
                f"{path}: image {name!r} is there twice ({seen[name]} and {number}); "
                "put its captions into one entry"
            )
        seen[name] = number
