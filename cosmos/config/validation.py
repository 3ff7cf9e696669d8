"""Messages for invalid settings: a line for each problem, with path, value and place of its key."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cosmos.config.near_names import close_names, near_names
from cosmos.config.section import keys_of_section, plain_types, setting_paths
from cosmos.config.settings_file import Keys, Layer
from cosmos.errors import cut_reason

MACHINE_LISTING = "machine.example.yaml"
"""File that lists the settings of a machine, and the keys of a job request."""

MAX_PROBLEMS = 20
"""Largest number of problems that a message explains; more are counted."""

MESSAGES = {
    "model_type": "expected keys and values below it",
    "model_attributes_type": "expected keys and values below it",
    "dict_type": "expected keys and values below it",
    "tuple_type": "expected a list, such as [a, b]",
    "list_type": "expected a list, such as [a, b]",
    "finite_number": "expected a finite number",
}
"""Messages in the words of a settings file, in place of pydantic's, by the type of the problem."""

NOUNS = {
    "bool": "a Boolean",
    "int": "a number",
    "float": "a number",
    "string": "a text",
    "tuple": "a list",
}
"""Types of values in words, by the beginning of pydantic's types of problems."""

_shortened = Repr()
_shortened.maxstring = _shortened.maxother = 80


def explain_validation(
    error: ValidationError,
    model: type[BaseModel],
    listing: str = "`cosmos pretrain --help`",
    layers: Sequence[Layer] = (),
    subcommands: Sequence[str] = (),
    head: Sequence[str] = (),
) -> str:
    """Return a line for each problem of a validation: path of the key, problem, value and place.

    `model`: the settings that were validated. `listing`: file or command that lists the keys which exist.
    `layers`: sources of the values; later ones win. `subcommands`: arguments of a command line; the names of
    commands at their beginning, with which paths begin, too, are left out. `head`: keys that a file may have
    beside those of `model`.
    """
    lines = []
    problems = list(_own_problems(error, layers))
    for keys, details in problems[:MAX_PROBLEMS]:
        problem = details[0]
        pairs = zip(keys, subcommands, strict=False)
        num_commands = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        path = ".".join(keys[num_commands:])
        message = _message_of_all(details)
        if problem["type"] == "extra_forbidden":
            message = f"no such key; {_near_keys(model, list(map(str, problem['loc'])), listing, head)}"
        shown = None if _may_be_secret(problem["type"], model, keys) else problem["input"]
        source = _describe_input(shown, find_place(layers, keys))
        lines.append(f"  {path}: {message}{source}" if path else f"  {message}")
    if len(problems) > MAX_PROBLEMS:
        lines.append(f"  and {len(problems) - MAX_PROBLEMS:,} more problems")
    return "\n".join(lines)


def _own_problems(
    error: ValidationError, layers: Sequence[Layer]
) -> Iterator[tuple[Keys, list[ErrorDetails]]]:
    """Yield the problems of a validation by path, without those that follow from another one.

    A value that is of none of several types has a problem for each.
    """
    by_path = dict[Keys, list[ErrorDetails]]()
    for problem in error.errors(include_url=False):
        if problem["type"] != "default_factory_not_called":
            by_path.setdefault(_path_in_layers(problem, layers), []).append(problem)
    unknown = [keys for keys, details in by_path.items() if details[0]["type"] == "extra_forbidden"]
    for keys, details in by_path.items():
        kind, section = details[0]["type"], keys[:-1]
        misspelt = [other[-1] for other in unknown if other[:-1] == section]
        is_misspelt = kind == "missing" and any(close_names(other, keys[-1:]) for other in misspelt)
        has_bad_items = kind == "too_short" and any(other[:-1][: len(keys)] == keys for other in by_path)
        if not is_misspelt and not has_bad_items:
            yield keys, details


def _path_in_layers(problem: ErrorDetails, layers: Sequence[Layer]) -> Keys:
    """Return the path of a problem's key, without the names of types that pydantic puts into it."""
    keys, values = list[str](), list[Any](layer.values for layer in layers)
    location = list(map(str, problem["loc"]))
    for number, key in enumerate(location):
        below = [value[key] for value in values if isinstance(value, Mapping) and key in value]
        below += [value[int(key)] for value in values if _has_item(value, key)]
        is_missing = problem["type"] == "missing" and number == len(location) - 1
        if below or not values or is_missing:
            keys.append(key)
            values = below
    return tuple(keys)


def _has_item(values: Any, key: str) -> bool:
    """Return True for a list that has an item of this number."""
    return isinstance(values, list | tuple) and key.isdecimal() and int(key) < len(values)


def _message_of_all(problems: Sequence[ErrorDetails]) -> str:
    """Return the message of a problem; of a value that is of none of several types, those that would do."""
    problem, value = problems[0], problems[0]["input"]
    kinds = dict.fromkeys(other["type"].partition("_")[0] for other in problems)
    if len(kinds) > 1 and value is not None and kinds.keys() <= NOUNS.keys():
        *nouns, last = dict.fromkeys(NOUNS[kind] for kind in kinds)
        return f"expected {', '.join(nouns)} or {last}"
    kind = problem["type"]
    misspelt = close_names(kind, value) if isinstance(value, Mapping) and kind not in value else []
    if misspelt:  # of a type that is the name of the missing key
        return f"{misspelt[0]}: no such key; near it: {kind}"
    return _message(kind, problem["msg"], value)


def find_place(layers: Sequence[Layer], keys: Sequence[str]) -> str:
    """Return the place of the value at a path, or of the nearest section above it, in the last layer."""
    depths = [_depth(layer.values, keys) for layer in layers]
    deepest = max(depths, default=0)
    if not deepest:
        return ""
    last = max(number for number, depth in enumerate(depths) if depth == deepest)
    return layers[last].place(keys[:deepest])


def _depth(values: Any, keys: Sequence[str]) -> int:
    """Return the number of keys, from the first, that lead to a value."""
    for number, key in enumerate(keys):
        if isinstance(values, Mapping) and key in values:
            values = values[key]
        elif _has_item(values, key):
            values = values[int(key)]
        else:
            return number
    return len(keys)


def _message(kind: str, message: str, value: Any) -> str:
    if value is None and kind != "missing":
        return "has no value; give it one, or delete the key"
    if kind in ("string_type", "path_type") and isinstance(value, bool | int | float):
        return (
            f"expected a text, not a {'Boolean' if isinstance(value, bool) else 'number'}; put it in quotes"
        )
    return MESSAGES.get(kind, message.removeprefix("Value error, "))


def _near_keys(model: type[BaseModel], keys: Sequence[str], listing: str, head: Sequence[str]) -> str:
    """Return the keys near an unknown one in its section, or those of its name in other sections."""
    elsewhere = [path for path in setting_paths(model) if path.rpartition(".")[2] == keys[-1]]
    remedy = f"near it: {', '.join(elsewhere)}" if elsewhere else ""
    siblings = [*keys_of_section(model, keys[:-1]), *(head if len(keys) == 1 else ())]
    near = near_names(keys[-1], siblings, remedy or listing)
    return f"{listing} lists them all" if near == listing else f"{near}; {listing} lists them all"


def _may_be_secret(kind: str, model: type[BaseModel], keys: Sequence[str]) -> bool:
    """Return True for the value of an unknown key, as a misspelt api_key, of a secret and of a mapping."""
    field = model.model_fields.get(keys[0]) if keys else None
    types = plain_types(field.annotation) if field else set()
    return kind == "extra_forbidden" or bool(types & {SecretStr, dict})


def _describe_input(value: Any, place: str) -> str:
    """Return a value and its place in brackets; a section's contents, as None, are left out."""
    given = (
        [] if isinstance(value, dict | BaseModel | None) else [f"given: {cut_reason(_shortened.repr(value))}"]
    )
    parts = [*given, *([f"in {place}"] if place else [])]
    return f" ({', '.join(parts)})" if parts else ""
