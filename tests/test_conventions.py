"""Conventions of `cosmos` and `flows`: floors, names, docstrings and sizes (CONTRIBUTING.md)."""

import ast
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).parent.parent
FIRST_WORDS = {"What", "Whether", "How", "Where", "Why", "Of", "Its", "Which", "One"}
VAGUE_NAMES = {"one", "found", "known", "what"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def modules() -> dict[str, ast.Module]:
    """Return the modules of both packages, by their paths."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for package in ("cosmos", "flows")
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Yield each node of these kinds, with its file and line."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{path}:{getattr(node, 'lineno', 1)}", node


# floors


def imported_rooms() -> dict[str, set[str]]:
    """Return the direct children of `cosmos`, and the other children that each imports."""
    graph = grimp.build_graph("cosmos")
    rooms = graph.find_children("cosmos")
    return {
        room: {
            other
            for other in rooms - {room}
            if graph.direct_import_exists(importer=room, imported=other, as_packages=True)
        }
        for room in rooms
    }


def test_rooms_stand_on_few_floors_and_import_only_lower_ones() -> None:
    imports, floors = imported_rooms(), list[set[str]]()
    rest = set(imports)
    while rest:
        floor = {room for room in rest if not imports[room] & rest}
        assert floor, f"these import each other: {sorted(rest)}"
        floors.append(floor)
        rest -= floor
    assert len(imports) <= 20, sorted(imports)
    assert len(floors) <= 10, floors


def test_import_contracts_are_few_and_short() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts) <= 8, [contract["name"] for contract in contracts]
    assert max(len(contract.get("layers", [])) for contract in contracts) <= 10


# names


def top_level_names(tree: ast.Module) -> Iterator[str]:
    """Yield the public functions, classes and values that a module defines."""
    for node in tree.body:
        if isinstance(node, Definition):
            targets = [node.name]
        elif isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            targets = [node.target.id]
        else:
            targets = []
        yield from (name for name in targets if not name.startswith("_"))


def test_a_public_name_means_one_thing() -> None:
    places = defaultdict(set)
    for path, tree in modules().items():
        if path.startswith("cosmos/"):
            for name in top_level_names(tree):
                places[name].add(path)
    shared = {name: sorted(paths) for name, paths in places.items() if len(paths) > 1}
    assert len(shared) <= 0.02 * len(places), shared


def bound_names(node: ast.AST) -> list[str]:
    """Return the variables and parameters that a node binds."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)):
            return [name]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
    return []


def test_variables_are_nouns() -> None:
    vague = [
        f"{place} {name}"
        for place, node in nodes(ast.AST)
        for name in bound_names(node)
        if name in VAGUE_NAMES
    ]
    assert not vague, "\n".join(vague)


# docstrings


def is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each docstring of a module, class, function or value, with its place."""
    for place, node in nodes(ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef):
        for before, statement in zip([None, *node.body], node.body, strict=False):
            if is_text(statement) and isinstance(before, ast.Assign | ast.AnnAssign | None):
                yield f"{place.split(':')[0]}:{statement.lineno}", statement.value.value


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    riddles = [
        f"{place} {text.splitlines()[0]}"
        for place, text in docstrings()
        if text.split()[0].capitalize() in FIRST_WORDS
    ]
    assert not riddles, "\n".join(riddles)


# text for people


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of a function or class of these names, with its file and line."""
    for place, node in nodes(ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in names:
            yield place, node


def is_literal(call: ast.Call) -> bool:
    """Return True for a column of a progress bar whose text is no markup."""
    is_constant = isinstance(call.args[0], ast.Constant) and "{" not in ast.unparse(call.args[0])
    return is_constant or any(option.arg == "markup" for option in call.keywords)


def test_what_is_printed_passes_the_places_that_show_control_characters() -> None:
    printed = {
        "print": {"config/printable_text", "cli/output", "cli/base", "cli/stages"},  # JSON, YAML, nothing
        "Console": {"config/progress_bar", "registry/index"},  # bars
        "Text": {"report/terminal"},
    }
    for name, places in printed.items():
        files = {place.split(":")[0].removeprefix("cosmos/").removesuffix(".py") for place, _ in calls(name)}
        assert files == places, (name, files ^ places)
    assert not [place for place, call in calls("TextColumn") if not is_literal(call)]


# errors of disks

PATH_QUESTIONS = {"exists", "is_file", "is_dir"}
OS_PATH_QUESTIONS = {"exists", "lexists", "isfile", "isdir"}
"""Functions of `Path`, since Python 3.14, and of `os.path` that take an error of the disk for absence."""


def takes_errors_for_absence(node: ast.AST) -> bool:
    """Return True for a call of one of these functions, and for its name, as an argument of `filter`."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]):
            return name in PATH_QUESTIONS
        case ast.Attribute(value=ast.Name(id="Path"), attr=name):
            return name in PATH_QUESTIONS
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="os"), attr="path"), attr=name):
            return name in OS_PATH_QUESTIONS
    return False


def test_a_disk_that_fails_is_not_taken_for_absence() -> None:
    asked = [
        f"{place} {ast.unparse(node)}" for place, node in nodes(ast.AST) if takes_errors_for_absence(node)
    ]
    assert not asked, "\n".join(["take the functions of cosmos/config/disk_reading.py:", *asked])


# sizes


def test_no_module_is_long() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert not {path: count for path, count in lines.items() if count > 400}


def test_functions_are_short() -> None:
    sizes = sorted(
        (node.end_lineno - node.lineno + 1, f"{place} {node.name}")
        for place, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    )
    longest = sizes[-20:]
    assert statistics.median(size for size, _ in sizes) <= 7, longest
    assert sizes[int(0.9 * len(sizes))][0] <= 16, longest
