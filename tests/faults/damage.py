"""Damage to files: of their bytes, and of the values in JSON and YAML."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.faults.tries import remove

Damage = Callable[[Path, Random], None]


def cut(path: Path, rng: Random) -> None:
    rewrite(path, lambda content: content[: rng.randrange(max(1, len(content)))])


def empty(path: Path, rng: Random) -> None:
    rewrite(path, lambda content: b"")


def flip_bit(path: Path, rng: Random) -> None:
    def flipped(content: bytes) -> bytes:
        changed = bytearray(content)
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)

    rewrite(path, flipped)


def zero_block(path: Path, rng: Random) -> None:
    def zeroed(content: bytes) -> bytes:
        start, size = rng.randrange(max(1, len(content))), rng.choice([16, 512, 4096])
        return content[:start] + bytes(min(size, len(content) - start)) + content[start + size :]

    rewrite(path, zeroed)


def append_zeros(path: Path, rng: Random) -> None:
    rewrite(path, lambda content: content + bytes(rng.choice([1, 100, 4096])))


def fill_with_noise(path: Path, rng: Random) -> None:
    rewrite(path, lambda content: rng.randbytes(rng.choice([1, 50, 5000])))


def replace_by_folder(path: Path, rng: Random) -> None:
    remove(path)
    path.mkdir()


def replace_by_loop(path: Path, rng: Random) -> None:
    remove(path)
    path.symlink_to(path.name)


def delete(path: Path, rng: Random) -> None:
    remove(path)


def replace_by_web_page(path: Path, rng: Random) -> None:
    rewrite(path, lambda content: b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n")


def nest_deeply(path: Path, rng: Random) -> None:
    depth = rng.choice([1_000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a": ', b"}")])
    rewrite(path, lambda content: opening * depth + b"1" + closing * depth)


def encode_otherwise(path: Path, rng: Random) -> None:
    encodings = ["utf-16", "utf-32", "utf-8-sig"]
    rewrite(path, lambda content: content.decode(errors="replace").encode(rng.choice(encodings)))


def insert_latin(path: Path, rng: Random) -> None:
    def inserted(content: bytes) -> bytes:
        start = rng.randrange(len(content) + 1)
        return content[:start] + "Größe".encode("latin-1") + content[start:]

    rewrite(path, inserted)


def change_value(path: Path, rng: Random) -> None:
    """Replace one value, of any depth, by another; of a file of lines, in one line."""
    if path.suffix in (".jsonl", ".journal"):
        lines = path.read_bytes().splitlines()
        if not lines:
            return
        number = rng.randrange(len(lines))
        lines[number] = changed_json(lines[number], rng)
        rewrite(path, lambda content: b"\n".join(lines) + b"\n")
    elif path.suffix == ".yaml":
        values = changed(yaml.safe_load(path.read_bytes()), rng)
        rewrite(path, lambda content: yaml.safe_dump(values).encode())
    else:
        rewrite(path, lambda content: changed_json(content, rng))


OTHER_VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "text",
    "\x1b[31m[/x]<script>",
    True,
    -1,
    0,
    10**30,
    1.5,
    -1e300,
    [1, "a", None],
    {"a": {"b": []}},
)
"""Values of every type, to put in the place of another."""

RAW_NUMBERS = (b"9" * 6000, b"1e999", b"NaN", b"-Infinity", b"1" + b"0" * 400)
"""Numbers that Python's json reads or refuses in its own way; they take the place of an integer."""


def changed_json(content: bytes, rng: Random) -> bytes:
    """Return a JSON text with one value replaced."""
    values = changed(json.loads(content), rng, marker := "\x00number")
    return json.dumps(values).encode().replace(json.dumps(marker).encode(), rng.choice(RAW_NUMBERS))


def changed(values: Any, rng: Random, marker: str = "") -> Any:
    """Return nested values with one of them replaced, or its key dropped; perhaps by the text `marker`."""
    places = list(places_in(values))
    if not places:
        return rng.choice(OTHER_VALUES)
    container, key = rng.choice(places)
    other = rng.choice([*OTHER_VALUES, *([marker] * 3 if marker else [])])
    if isinstance(container, dict) and rng.random() < 0.2:
        del container[key]
    else:
        container[key] = other
    return values


def places_in(values: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container of nested values with each of its keys."""
    keys = (
        list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    )
    for key in keys:
        yield values, key
        yield from places_in(values[key])


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace a file, which may be linked elsewhere, by one of other content."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


BYTES: tuple[Damage, ...] = (
    cut,
    empty,
    flip_bit,
    zero_block,
    append_zeros,
    fill_with_noise,
    replace_by_folder,
    replace_by_loop,
    delete,
    replace_by_web_page,
)
"""Damage to any file."""

TEXT: tuple[Damage, ...] = (nest_deeply, encode_otherwise, insert_latin)
"""Damage to a text, beside that to bytes."""

VALUES: tuple[Damage, ...] = (change_value,) * 8
"""Damage to values, drawn as often as all others together."""


def damages(path: Path) -> tuple[Damage, ...]:
    """Return the ways to damage a file, by its ending."""
    if path.suffix in (".json", ".jsonl", ".yaml", ".journal"):
        return BYTES + TEXT + VALUES
    return BYTES + TEXT if path.suffix in (".md", ".txt", ".csv", ".html", ".state", ".run") else BYTES
