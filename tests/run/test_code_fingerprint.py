"""Fingerprints of code, which go by what it computes, not by how it is written."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosmos.run import code_fingerprint
from cosmos.run.code_fingerprint import ImportedCode, computation, imported_modules, module_computation

CODE = '''
"""Module."""

from dataclasses import dataclass

FACTOR = 2.0
"""factor"""


@dataclass
class Weights:
    """Class."""

    first: float = 0.5
    """attribute"""


def scaled(x: float, *rest: float, by: float = FACTOR) -> float:
    """Function."""
    # a comment
    return x * by + sum(f"{y:>{3}}" == "1" for y in rest)
'''


def same(text: str) -> bool:
    return computation(ast.parse(text)) == computation(ast.parse(CODE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', ""),
        ('"""Class."""', '"""Another text."""'),
        ('"""factor"""', ""),
        ('    """Function."""\n', ""),
        ("# a comment", "# another"),
        ("x: float, *rest: float, by: float = FACTOR", "x: float,\n    *rest: float, by: float=FACTOR,\n"),
        ('"1"', "u'1'"),
        ("x * by", "(x * by)"),
        ("2.0", "2.00"),
    ],
)
def test_comments_docstrings_and_formatting_are_no_part_of_it(old: str, new: str) -> None:
    assert same(CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "2"),
        ("x * by", "x / by"),
        ("first", "second"),
        ("@dataclass\n", ""),
        ("{y:>{3}}", "{y:>{4}}"),
        ('"1"', 'b"1"'),
        (" = FACTOR", ""),
        ("    # a comment\n", "    if not x:\n        return None\n"),
    ],
)
def test_all_else_is(old: str, new: str) -> None:
    assert not same(CODE.replace(old, new))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes modules of a package of one's own, by path."""
    monkeypatch.setattr(code_fingerprint, "ROOT", tmp_path)

    def write(**files: str) -> None:
        module_computation.cache_clear()
        imported_modules.cache_clear()
        for name, text in files.items():
            path = tmp_path / "cosmos" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (path.parent, tmp_path / "cosmos"):
                (folder / "__init__.py").touch()
            path.write_text(text)

    yield write
    module_computation.cache_clear()
    imported_modules.cache_clear()


def test_imports_are_followed_wherever_and_however_they_are_written(package: Callable[..., None]) -> None:
    package(
        start="import torch, cosmos.a\nfrom cosmos import b\ndef f():\n    from cosmos.room.c import d\n",
        a="",
        b="if True:\n    from .e import f as g, h",
        room__c="from . import i\nfrom ..j import k",
        room__i="",
        e="import cosmos.start",
        j="",
        unused="",
    )
    modules = ImportedCode("cosmos.start").modules()
    short = {name.removeprefix("cosmos").removeprefix(".") for name in modules}
    assert short == {"", "start", "a", "b", "room", "room.c", "room.i", "e", "j"}
    assert ImportedCode("cosmos.start", ("cosmos.room", "cosmos.b")).modules() == {
        *("cosmos", "cosmos.start", "cosmos.a"),
    }


def test_a_fingerprint_changes_with_what_is_imported_and_with_files_alone(
    package: Callable[..., None], tmp_path: Path
) -> None:
    package(start="from cosmos import a", a="x = 1", b="")
    (tmp_path / "cosmos" / "texts.json").write_text("[]")
    code = ImportedCode("cosmos.start", files=("cosmos/texts.json",))
    prints = [code.fingerprint()]
    package(a='"""A."""\nx = 1  # one', b="y = 1")
    assert code.fingerprint() == prints[0]
    package(a="x = 2")
    prints.append(code.fingerprint())
    (tmp_path / "cosmos" / "texts.json").write_text("[1]")
    prints.append(code.fingerprint())
    assert len(set(prints)) == 3


def test_an_entry_that_moved_is_missed(package: Callable[..., None]) -> None:
    package(start="")
    with pytest.raises(ModuleNotFoundError, match=r"cosmos\.gone"):
        ImportedCode("cosmos.gone").modules()
