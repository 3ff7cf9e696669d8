from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos.config.experiment import load_params, load_recorded_params
from cosmos.config.settings_file import MAX_BYTES, SettingsLoader, dump_settings, read_mapping, read_settings
from cosmos.config.sweep_loading import load_sweep
from cosmos.errors import InputError
from tests.stages.examples import ROOT

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


def read(folder: Path, content: str | bytes) -> dict[str, Any]:
    (folder / "file.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_settings(folder / "file.yaml").values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"file\.yaml: b\.c stands twice, in lines 3 and 5; keep one"),
        ("a: {b: 1,\n b: 2}", r"a\.b stands twice, in lines 1 and 2"),
        ("a: 1\n'a': 2", r"a stands twice, in lines 1 and 2"),
        ("a:\n- {b: 1, b: 2}", r"a\.0\.b stands twice"),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}", r"y\.<< stands twice"),
        ("a: b\n\tc: d", r"file\.yaml, line 2: not YAML: .* a tab .*write spaces instead"),
        ("slurm: {\n  nodes: 2\n", r"not YAML: .*begins in line 1, .*a bracket or quote is not closed"),
        ("slurm: {", r"line 1: not YAML: .*is not closed"),
        ("a: b: c", r"line 1: not YAML: mapping values .*, or a text with one needs quotes"),
        ("a: *x", r"line 1: not YAML: found undefined alias 'x'"),
        ("a: 1\n---\nb: 2", r"line 2: not YAML: .*another document"),
        ("a: !!python/object/apply:os.system [x]", r"line 1: not YAML: could not determine a constructor"),
        ("a: !!timestamp x", r"line 1: not YAML: could not determine a constructor"),
        ("a: !!int x", r"line 1: not YAML: 'x' is not of the type int"),
        (f"a: {'9' * 5000}", r"line 1: not YAML: '9+ is not of the type int"),
        ("a: \x01", r"line 1: not YAML: character 0x01 is not allowed"),
        ("? [a]\n: 1", r"line 1: a key is a list or a section; a text that begins with"),
        ("- a", r"file\.yaml: expected keys and values such as `device: cpu`, with a space, not a list"),
        ("text", r"expected keys and values .* not 'text'"),
        ("a: 1\nb: \u00e9".encode("latin-1"), r"line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
        ("a: " + "[" * 3000, r"nested too deeply"),
        ("a: &a [*a]", r"more than 10,000 values"),
        (LAUGHS, r"more than 10,000 values, with what its aliases"),
        pytest.param("a: [" + "1," * 100_000 + "]", r"line 1: not YAML: .* past 10,000 others", id="many"),
        pytest.param(f"a: 0x{'f' * 5000}", r"line 1: not YAML: '0xf+ is not of the type int", id="long"),
        (b"a" * (MAX_BYTES + 1), r"larger than 256 KiB"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, content)
    assert str(refused.value).startswith(str(tmp_path / "file.yaml"))
    assert "\n" not in str(refused.value)


def mangled(text: bytes) -> st.SearchStrategy[bytes]:
    """The text with a part of it replaced: by other bytes, by nothing, or by what YAML has a meaning for."""
    indicators = st.sampled_from(
        [b"*a", b"&a", b"!!", b"<<:", b"{", b"[", b"? ", b"\t", b"|", b"%", b"---\n"]
    )
    inserted = st.one_of(st.binary(max_size=8), indicators)
    place = st.integers(0, len(text))
    return st.builds(lambda a, b, c: text[:a] + c + text[max(a, b) :], place, place, inserted)


def load_sweep_at(path: Path) -> object:
    return load_sweep(str(path))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), mangled((ROOT / "params.yaml").read_bytes())))
def test_any_bytes_are_settings_or_refused_in_lines_that_name_the_file(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    messages = []
    for read_file in (partial(load_params, "", {}), load_recorded_params, load_sweep_at):
        try:
            read_file(path)
        except InputError as error:
            messages.append(str(error))
    assert all("file.yaml" in message for message in messages)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for reader in (read_settings, read_mapping):
        with pytest.raises(InputError, match=r"none\.yaml: no such file; run from the root of the project"):
            reader(tmp_path / "none.yaml")
        with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); .*move it away"):
            reader(tmp_path)


def test_aliases_that_multiply_are_refused_in_records_too(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(LAUGHS)
    with pytest.raises(InputError, match=r"file\.yaml: more than 10,000 values, with what its aliases"):
        read_mapping(tmp_path / "file.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("+3", 3),
        ("true", True),
        ("~", None),
        ("", None),
        *((text, text) for text in ("no", "yes", "on", "OFF", "2024-01-01", "12:30:00", "1_000", "1e", "=")),
        ("'1e-4'", "1e-4"),
        ("!!str 1e-4", "1e-4"),
    ],
)
def test_a_plain_value_is_what_yaml_1_2_takes_it_for(text: str, value: object, tmp_path: Path) -> None:
    (read_value,) = read(tmp_path, f"key: {text}").values()
    assert (type(read_value), read_value) == (type(value), value)


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "\ufeff", b"\xef\xbb\xbf# mark\n"])
def test_an_empty_file_holds_nothing(content: str | bytes, tmp_path: Path) -> None:
    assert read(tmp_path, content) == {}


def test_keys_are_texts_and_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffno: 1\n2024: 2\n1e5: 3\n") == {"no": 1, "2024": 2, "1e5": 3}


def test_places_are_known_also_in_lists_and_behind_aliases(tmp_path: Path) -> None:
    read(tmp_path, "a: &a\n  b: 1\nc:\n- x\n- y\nd:\n  <<: *a\n  e: 1\n")
    layer = read_settings(tmp_path / "file.yaml")
    assert layer.values["d"] == {"b": 1, "e": 1}
    lines = {
        keys: layer.place(keys).rpartition(" ")[2]
        for keys in [("a", "b"), ("c", "1"), ("d", "b"), ("d", "e")]
    }
    assert list(lines.values()) == ["2", "5", "6", "8"]
    assert layer.place(["none"]) == str(tmp_path / "file.yaml")


TEXTS = st.text("-+.0129eExo:_~<= nulTrueFalsyofi'\"#&*!{[,%@é\n", max_size=8)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS


@given(st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=4))
@settings(max_examples=200)
def test_what_is_written_is_read_as_the_same_by_old_and_new_readers(values: dict[str, Any]) -> None:
    text = dump_settings(values)
    assert yaml.load(text, SettingsLoader) == values
    assert yaml.safe_load(text) == values
