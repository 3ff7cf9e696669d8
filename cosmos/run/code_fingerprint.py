"""Fingerprints of the package's code, which comments, docstrings and formatting do not change."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import is_file

ROOT = Path(__file__).parents[2]
"""Folder that the package lies in: a checkout, site-packages, or a job's frozen copy."""
PACKAGE_NAME = "cosmos"


@dataclass(frozen=True)
class ImportedCode:
    """A module of the package, with all of the package that it imports, also indirectly or in functions."""

    entry: str
    """module that imports begin with"""
    ignored: tuple[str, ...] = ()
    """modules and packages that decide no result, and all that they alone import"""
    files: tuple[str, ...] = ()
    """other files that decide the result, by path from the root"""

    def modules(self) -> set[str]:
        """Return the names of the modules and packages of the package that are imported.

        Raises ModuleNotFoundError where there is no entry.
        """
        if module_file(self.entry) is None:
            raise ModuleNotFoundError(self.entry)
        reached, pending = set[str](), [self.entry]
        while pending:
            module = pending.pop()
            if module not in reached and not self.ignores(module):
                reached.add(module)
                pending += imported_modules(module)
        return reached

    def ignores(self, module: str) -> bool:
        """Return True for a module that decides no result."""
        return any(module == name or module.startswith(f"{name}.") for name in self.ignored)

    def fingerprint(self) -> str:
        """Return sixteen hex digits that differ once what the code computes, or one of the files, does."""
        code = [f"{module} {module_computation(module)}" for module in sorted(self.modules())]
        files = [f"{name} {hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}" for name in self.files]
        return hashlib.sha256("\n".join([*code, *files]).encode()).hexdigest()[:16]


@cache
def module_computation(module: str) -> str:
    """Return a hash of what a module of the package computes."""
    return hashlib.sha256(computation(syntax_tree(module)).encode()).hexdigest()


def computation(tree: ast.AST) -> str:
    """Return a syntax tree as text, the same in all versions of Python, without docstrings.

    A docstring is any statement that is a string, also one below a value.
    """
    return repr(_nested(tree))


def _nested(node: Any) -> Any:
    if isinstance(node, list):
        return [_nested(item) for item in node if not _is_docstring(item)]
    if not isinstance(node, ast.AST):
        return repr(node)
    # a field that is empty may be one that another version of Python does not have; `kind` is the u of u""
    fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and name != "kind")
    nested = ((name, _nested(value)) for name, value in fields)
    return (type(node).__name__, *(field for field in nested if field[1] != []))


def _is_docstring(node: Any) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)


@cache
def imported_modules(module: str) -> list[str]:
    """Return the modules of the package that `module` imports, and the packages that it lies in."""
    names = {name for node in ast.walk(syntax_tree(module)) for name in _names(node, module)}
    parents = module.split(".")[:-1]
    names |= {".".join(parents[:depth]) for depth in range(1, len(parents) + 1)}
    return sorted(name for name in names if name.split(".")[0] == PACKAGE_NAME and module_file(name))


def _names(node: ast.AST, module: str) -> Iterator[str]:
    """Yield the dotted names that may be modules, of an import statement in `module`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        file = module_file(module)
        is_package = file is not None and file.name == "__init__.py"
        package = module if is_package else module.rpartition(".")[0]
        base = resolve_name("." * node.level + (node.module or ""), package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def syntax_tree(module: str) -> ast.Module:
    """Return the parsed source of a module of the package."""
    file = module_file(module)
    assert file is not None, module
    return ast.parse(file.read_bytes())


def module_file(module: str) -> Path | None:
    """Return the file of a module or package below ROOT; None where there is none of this name."""
    path = ROOT.joinpath(*module.split("."))
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in candidates if is_file(file)), None)
