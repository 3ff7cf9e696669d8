"""Settings files: YAML as people write it, read with the line of each key, and written to read the same.

A plain value is what YAML 1.2 takes it for, as DVC does: `1e-4` is a number; `no`, `2024-01-01` and `12:30`
are texts. A key is a text, too. Records of runs and sweeps are written by this software, read as YAML 1.1,
as its first release wrote them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cosmos.config.disk_reading import NO_FILE, IrregularFileError, open_regular
from cosmos.errors import CosmosError, InputError, convert_os_error

MAX_BYTES = 256 * 1024
"""Largest size of a settings file."""
MAX_FLAT_BYTES, MAX_BRACKETS = 64 * 1024, 100
"""Largest size, and number of brackets and nested items, of YAML that is read by the loader in C."""
MAX_VALUES = 10_000
"""Largest number of values in a settings file, each alias (`*name`) counted as all that it stands for."""
MAX_DEPTH = 30
"""Largest number of sections and lists that a value may lie in."""
MAX_DIGITS = 400
"""Largest number of digits: no float holds more, and Python refuses to print those of more than 4,300."""

MERGE_TAG = "tag:yaml.org,2002:merge"
MERGE_KEY = "<<"
TEXT_TAG = "tag:yaml.org,2002:str"

CORE_SCHEMA = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    MERGE_TAG: (MERGE_KEY, ["<"]),
}
"""Tags of plain values, patterns, first characters. Source: YAML 1.2.2, 10.3.2; `<<` is YAML 1.1's."""

Keys = tuple[str, ...]
"""Path of a value: the key of each section above it, and its own; items of lists count from 0."""


@dataclass(frozen=True)
class Layer:
    """Settings of one source, such as a file: nested values, and the place where each was given."""

    name: str
    values: dict[str, Any]
    places: Mapping[Keys, str] = field(default_factory=dict)
    """`params.yaml, line 3` or the name of a variable, by path"""

    def place(self, keys: Sequence[str]) -> str:
        """Return the place of the value at a path, or of the nearest section above it."""
        ends = range(len(keys), 0, -1)
        return next((p for end in ends if (p := self.places.get(tuple(keys[:end])))), self.name)

    def below(self, key: str, values: dict[str, Any]) -> "Layer":
        """Return the layer of `values`, which are those below a key of this one."""
        places = {keys[1:]: place for keys, place in self.places.items() if keys[0] == key}
        return Layer(f"{key} in {self.name}", values, places)


class BoundedLoader(yaml.SafeLoader):
    """Loader of YAML 1.1 that gives up a file at the first value beyond a bound, before it takes long."""

    num_values = 0
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node. Raises ComposerError for a node too many or nested too deep."""
        self.num_values, self.depth = self.num_values + 1, self.depth + 1
        if self.num_values > 2 * MAX_VALUES or self.depth > MAX_DEPTH:
            problem = "is nested too deeply" if self.depth > MAX_DEPTH else f"is past {MAX_VALUES:,} others"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"a value that {problem}", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class SettingsLoader(BoundedLoader):
    """Loader of YAML 1.2's core schema: `no` is a text, and 1e-4 a number."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return the value of a decimal, octal (0o17) or hexadecimal number; 017 is seventeen."""
        digits = node.value.lower()
        if len(digits) > MAX_DIGITS:
            raise ValueError(digits)
        return int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node. Raises ConstructorError for a value that is not of its tag."""
        try:
            return super().construct_object(node, deep)
        except ValueError:
            problem = f"{node.value!r:.40} is not of the type {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


class SettingsDumper(yaml.SafeDumper):
    """Dumper that quotes a text which YAML 1.1 or 1.2 would take for something else."""


for tag, (pattern, first) in CORE_SCHEMA.items():
    for kind in (SettingsLoader, SettingsDumper):
        kind.add_implicit_resolver(tag, re.compile(rf"^(?:{pattern})$"), first)
SettingsLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag in (None, TEXT_TAG, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map", *CORE_SCHEMA)
}
SettingsLoader.add_constructor("tag:yaml.org,2002:int", SettingsLoader.construct_integer)


def dump_settings(values: Any) -> str:
    """Return values as YAML that `read_settings` and readers of YAML 1.1 read as the same values."""
    return yaml.dump(values, Dumper=SettingsDumper, sort_keys=False, allow_unicode=True)


def read_settings(path: Path) -> Layer:
    """Return the sections in a user's YAML file.

    Raises InputError that names the file, the line and the remedy, TransientError if the disk fails.
    """
    text = read_text(path, MAX_BYTES)
    with _naming_syntax_errors(path, text):
        return _parse_settings(text, path)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML record that this software wrote; errors as those of `read_settings`."""
    text = read_text(path, MAX_BYTES)
    if (values := parse_flat(text.encode())) is not None:
        return values
    with _naming_syntax_errors(path, text):
        loader = BoundedLoader(text)
        root = loader.get_single_node()
        if root is not None:
            _check_size(root, path)
        return _require_mapping(root and loader.construct_document(root), path)


def parse_flat(content: bytes) -> dict[str, Any] | None:
    """Return the mapping in YAML 1.1 by the loader in C, in a tenth of the time; None where it is not for it.

    It has no bounds, and crashes where values are nested deep: what is large, has anchors or many brackets or
    nested items, or is no mapping, is for the loader that has, which also names lines.
    """
    nested = sum(map(content.count, (b"[", b"{", b"- -", b"? ?")))
    if len(content) > MAX_FLAT_BYTES or b"&" in content or nested > MAX_BRACKETS:
        return None
    with suppress(yaml.YAMLError, ValueError, TypeError):  # a date such as 2026-13-45, a list as a key
        values = yaml.load(content, getattr(yaml, "CSafeLoader", BoundedLoader))
        return values if isinstance(values, dict) else None
    return None


@contextmanager
def _naming_syntax_errors(path: Path, text: str) -> Iterator[None]:
    """Raise InputError that names file and line for a text that is no YAML."""
    try:
        yield
    except CosmosError:
        raise
    except yaml.MarkedYAMLError as error:
        raise InputError(_explain_syntax(error, path)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character {error.character:#04x} is not allowed"
        raise InputError(f"{path}, line {line}: not YAML: {problem}") from None
    except (ValueError, TypeError) as error:  # of YAML 1.1: a date that there is not, a list as a key
        raise InputError(f"{path}: not YAML: {error}") from None


def read_text(path: Path, limit: int = 0) -> str:
    """Return the text of a file; `limit`: bytes that it may have, 0: any number."""
    try:
        with open_regular(path) as file:
            content = file.read(limit + 1 if limit else -1)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; run from the root of the project, or name another file"
        ) from None
    except IrregularFileError:
        raise InputError(f"{path}: {NO_FILE}; put a file there, or name another") from None
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error.strerror})") from None
    if limit and len(content) > limit:
        raise InputError(f"{path}: larger than {limit // 1024} KiB, which no file of settings is")
    return decode_text(content, path)


def decode_text(content: bytes, path: Path) -> str:
    """Return UTF-8 bytes of a file as text, without a byte order mark.

    Raises InputError that names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def _parse_settings(text: str, path: Path) -> Layer:
    loader = SettingsLoader(text)
    try:
        root = loader.get_single_node()
        places: dict[Keys, str] = {}
        if root is not None:
            _check_size(root, path)
            _prepare(root, (), path, places)
        return Layer(str(path), _require_mapping(root and loader.construct_document(root), path), places)
    finally:
        loader.dispose()


def _require_mapping(value: Any, path: Path) -> dict[str, Any]:
    if isinstance(value, dict | None):
        return value or {}
    kind = "a list" if isinstance(value, list) else f"{value!r:.40}"
    raise InputError(f"{path}: expected keys and values such as `device: cpu`, with a space, not {kind}")


def _check_size(root: yaml.Node, path: Path) -> None:
    """Raise InputError for more values than MAX_VALUES, and for an alias inside of what it stands for."""
    sizes: dict[int, float] = {}

    def size(node: yaml.Node) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = float("inf")  # until it is known: a cycle ends here
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        return sizes[id(node)]

    if size(root) > MAX_VALUES:
        raise InputError(f"{path}: more than {MAX_VALUES:,} values, with what its aliases (*name) stand for")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _prepare(node: yaml.Node, keys: Keys, path: Path, places: dict[Keys, str]) -> None:
    """Make texts of keys, record the place of each value, and refuse a key that stands twice."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            places[*keys, str(number)] = _place(path, item)
            _prepare(item, (*keys, str(number)), path, places)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            _prepare_key(key, path)
            if key.value in seen:
                raise InputError(_explain_duplicate(path, (*keys, key.value), seen[key.value], key))
            seen[key.value] = key
            places[*keys, key.value] = _place(path, key)
            _prepare(value, (*keys, key.value), path, places)


def _prepare_key(key: yaml.Node, path: Path) -> None:
    if not isinstance(key, yaml.ScalarNode):
        remedy = "a text that begins with { or [ needs quotes"
        raise InputError(f"{_place(path, key)}: a key is a list or a section; {remedy}")
    if key.tag != MERGE_TAG:
        key.tag = TEXT_TAG


def _explain_duplicate(path: Path, keys: Keys, first: yaml.Node, second: yaml.Node) -> str:
    lines = f"{first.start_mark.line + 1} and {second.start_mark.line + 1}"
    return f"{path}: {'.'.join(keys)} stands twice, in lines {lines}; keep one of them"


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _explain_syntax(error: yaml.MarkedYAMLError, path: Path) -> str:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    begin = f" {error.context}" if error.context else ""
    if error.context_mark and mark and error.context_mark.line != mark.line:
        begin += f" that begins in line {error.context_mark.line + 1},"
    problem = (error.problem or "").replace(r"character '\t'", "a tab").replace("<stream end>", "end of file")
    remedies = {
        "a tab": "write spaces instead",
        "end of": "a bracket or quote is not closed",
        "mapping values": "a colon or the space after it is missing, or a text with one needs quotes",
    }
    remedy = "".join(f"; {remedy}" for part, remedy in remedies.items() if part in problem)
    return f"{path}{line}: not YAML:{begin} {problem}{remedy}"
