"""Variables of the machine's settings, from the environment and `.env`: COSMOS_SLURM__NODES sets slurm.nodes.

A list, a section or a mapping is JSON. A variable that begins with COSMOS_ and is no setting is refused, as a
misspelt one would be passed over, unless the setting foreign_variables names it.
"""

import json
import os
import shlex
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from dotenv.variables import parse_variables
from pydantic import BaseModel, SecretStr

from cosmos.config.disk_reading import exists, is_dir
from cosmos.config.near_names import close_names
from cosmos.config.params import Params
from cosmos.config.section import is_model, plain_types, setting_paths
from cosmos.config.settings_file import MAX_BYTES, Keys, Layer, read_text
from cosmos.config.validation import MACHINE_LISTING
from cosmos.errors import InputError

PREFIX = "COSMOS_"
DELIMITER = "__"
LAUNCHER_VARIABLES = frozenset({"COSMOS_JOB", "COSMOS_JOB_SECRETS", "COSMOS_STORE_LISTENER"})
"""Variables that launchers set for the jobs that they start."""


@dataclass(frozen=True)
class Variable:
    """Variable that begins with COSMOS_, and where it is set."""

    name: str
    value: str
    place: str
    """name, and the file and line of one from a file"""

    @property
    def keys(self) -> Keys:
        """Path of the setting that it names."""
        return tuple(self.name[len(PREFIX) :].lower().split(DELIMITER))


def environment_variables(environment: Mapping[str, str]) -> list[Variable]:
    """Return the variables of an environment that begin with COSMOS_, without those of launchers."""
    return [
        Variable(name, value, name)
        for name, value in environment.items()
        if _is_ours(name) and name not in LAUNCHER_VARIABLES
    ]


def env_file_variables(path: Path) -> list[Variable]:
    """Return the variables in a file such as .env that begin with COSMOS_; [] where there is no file.

    ${NAME} stands for the value of an earlier variable, or of one of the environment. Raises InputError for a
    line that is no NAME=value, for a variable that is set twice, and for values that grow beyond MAX_BYTES.
    """
    if is_dir(path) or not exists(path):  # some name a virtual environment so
        return []
    lines, values, size = dict[str, int](), dict[str, str](), 0
    defined = ChainMap(values, os.environ)
    for line, name, value in _settings_in(path):
        if name in lines and _is_ours(name):
            raise InputError(f"{path}: {name} stands twice, in lines {lines[name]} and {line}")
        parts = [part.resolve(defined) for part in parse_variables(value)]
        size += sum(map(len, parts))
        if size > MAX_BYTES:
            raise InputError(f"{path}, line {line}: with what ${{...}} stands for, {name} is too long")
        lines[name], values[name] = line, "".join(parts)
    return [
        Variable(name, value, f"{name} in {path}, line {lines[name]}")
        for name, value in values.items()
        if _is_ours(name)
    ]


def _settings_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and value, as they are written, of each setting in a file such as .env."""
    for binding in parse_stream(StringIO(read_text(path, MAX_BYTES))):
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:blank].count("\n")
        if binding.error or (binding.key and _is_ours(binding.key) and binding.value is None):
            raise InputError(
                f"{path}, line {line}: expected NAME=value, not {binding.original.string.strip()!r:.60}"
            )
        if binding.key:
            yield line, binding.key, binding.value or ""


def settings_of_variables(variables: list[Variable], model: type[BaseModel], name: str) -> Layer:
    """Return the settings in `model` that variables set, as a layer called `name`; unknown ones are left out.

    Raises InputError that names a variable whose value cannot be read, and the form of one that can.
    """
    layer, places = Layer(name, {}), dict[Keys, str]()
    for variable in sorted(variables, key=lambda variable: len(variable.keys)):
        types = _setting_types(model, variable.keys)
        if not types:
            continue
        if variable.keys in places:
            raise InputError(f"{places[variable.keys]} and {variable.place} set the same; unset one of them")
        _insert(layer.values, variable.keys, _read_value(variable, types))
        places[variable.keys] = variable.place
    return Layer(name, layer.values, places)


def refuse_unknown(variables: list[Variable], model: type[BaseModel], foreign: Sequence[str]) -> None:
    """Raise InputError for variables that are no setting in `model`, and match no pattern in `foreign`."""
    problems = [
        f"{variable.place}: {_explain_unknown(variable, model)}"
        for variable in variables
        if not _setting_types(model, variable.keys)
        and not any(fnmatchcase(variable.name, pattern) for pattern in foreign)
    ]
    if problems:
        raise InputError("\n".join(problems))


def _explain_unknown(variable: Variable, model: type[BaseModel]) -> str:
    path = ".".join(variable.keys)
    if variable.keys[0] in Params.model_fields:
        return f"parameters never come from the environment; use params.yaml or --{path}"
    close = [variable_name(other) for other in close_names(path, setting_paths(model))]
    near = f"near it: {', '.join(close)}" if close else f"{MACHINE_LISTING} lists them all"
    return f"no such setting; {near}; foreign_variables in machine.yaml allows those of other programs"


def variable_name(path: str) -> str:
    """Return the variable of the setting at a path."""
    return PREFIX + path.upper().replace(".", DELIMITER)


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _setting_types(annotation: Any, keys: Keys) -> set[Any]:
    """Return the plain types of the setting at a path; none where there is no such setting."""
    types = plain_types(annotation)
    if not keys:
        return types
    if dict in types:
        return {object}
    models = list(filter(is_model, types))
    fields = models[0].model_fields if models else {}
    return _setting_types(fields[keys[0]].annotation, keys[1:]) if keys[0] in fields else set()


def _read_value(variable: Variable, types: set[Any]) -> Any:
    """Return the value of a variable for a setting of these types: JSON where it is no single value."""
    kind = next(iter(types))
    if kind in (tuple, dict, object) or is_model(kind):
        try:
            return json.loads(variable.value, object_pairs_hook=_refuse_twice)
        except json.JSONDecodeError:
            if kind is object:
                return variable.value
            raise InputError(f"{variable.place}: {_explain_form(variable, kind)}") from None
        except InputError as error:
            raise InputError(f"{variable.place}: {error}") from None
    if not variable.value and not types & {str, SecretStr}:
        raise InputError(f"{variable.place} is empty; give it a value, or unset it")
    return variable.value


def _explain_form(variable: Variable, kind: type) -> str:
    """Return what is wrong with a value that is no JSON, and a form that does; a mapping may hold secrets."""
    if kind is tuple:
        items = json.dumps([item for part in variable.value.split(",") if (item := part.strip(" []'\""))])
        return f"{variable.value!r} is no JSON list; write {variable.name}={shlex.quote(items)}"
    if kind is dict:
        return f'is no JSON; write {variable.name}=\'{{"key": "value"}}\''
    key = next(iter(kind.model_fields))  # type: ignore[attr-defined]
    return f"{variable.value!r} is no JSON; set one key, as with {variable.name}{DELIMITER}{key.upper()}"


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise InputError(f"{key} stands twice in its JSON; keep one of them")
        values[key] = value
    return values


def _insert(values: dict[str, Any], keys: Keys, value: Any) -> None:
    *sections, last = keys
    for section in sections:
        below = values.get(section)
        values[section] = below if isinstance(below, dict) else {}
        values = values[section]
    values[last] = value
