import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.errors import DamagedDataError
from cosmos.run.records import parse_record, read_record


@dataclass(frozen=True)
class Example:
    name: str
    folder: Path
    count: int = 0
    values: dict[str, float] = field(default_factory=dict)
    steps: tuple[int, ...] = ()


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = {
        "name": "Infinity",
        "folder": "b/c",
        "count": 3,
        "values": {"x": 1},
        "steps": [1, 2],
        "later": None,
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    read = read_record(tmp_path / "record.json", Example, "record", "delete it")
    assert read == Example("Infinity", Path("b/c"), 3, {"x": 1.0}, (1, 2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid JSON: EOF while parsing"),
        (b'{"name": "a", "folder": "b', "Invalid JSON: EOF while parsing"),
        (b"null", "Input should be an object"),
        (b"[" * 100_000, "recursion limit exceeded"),
        (b'{"name": "\xff", "folder": ""}', "Invalid JSON"),
        (b'{"name": null, "folder": ""}', "name: Input should be a valid string"),
        (b'{"folder": ""}', "name: Field required"),
        (b'{"name": "", "folder": "", "count": "7"}', "count: Input should be a valid integer"),
        (b'{"name": "", "folder": "", "values": {"x": [1]}}', "values.x: Input should be a valid number"),
        (b'{"name": "", "folder": "", "count": ' + b"9" * 6000 + b"}", "a number of 400"),
        (b'{"name": "", "folder": "", "later": [{"x": -Infinity}]}', "-Infinity is no finite number"),
        (b'{"name": "", "folder": "", "values": {"x": 1E+0400}}', "1E+0400 is no finite number"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else "",
)
def test_other_contents_are_refused_in_a_line_with_file_reason_and_remedy(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DamagedDataError) as caught:
        read_record(path, Example, "record", "delete it")
    message = str(caught.value)
    assert message.startswith(f"{path}: not a record (")
    assert message.endswith("; delete it")
    assert reason in message
    assert "\n" not in message


def test_a_pipe_in_the_place_of_a_record_is_damage_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(
        DamagedDataError, match=r"record.json: not a record \(a pipe or a device.*; delete it"
    ):
        read_record(tmp_path / "record.json", Example, "record", "delete it")


@given(
    st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())
)
def test_no_content_ends_in_another_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(content, Example)
