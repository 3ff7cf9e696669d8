"""Base class of a group of parameters, and types of their values: ranges of numbers, precisions."""

from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Secret, ValidationInfo, field_validator

from cosmos.errors import InputError

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
NumEpochs = Annotated[int, Field(gt=0, le=1_000_000)]
NumTrials = Annotated[int, Field(ge=0, le=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Amount = Annotated[float, Field(gt=0)]
Precision = Literal["float32", "bf16", "fp16"]


def expand_home(path: Path) -> Path:
    """Return a path whose ~ or ~user is a home directory.

    Raises InputError for a user that there is not, and for a path with a NUL, which no file has.
    """
    if "\0" in str(path):
        raise InputError(f"{str(path)!r}: a path has no NUL character")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {error}") from None


AnyPath = Annotated[Path, AfterValidator(expand_home)]
"""Path that may begin with ~."""


class Section(BaseModel):
    """A frozen group of knobs. It refuses unknown keys, and Booleans and infinity for numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _take_as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        types = plain_types(cls.model_fields[str(info.field_name)].annotation)
        if value is None and any(isinstance(t, type) and issubclass(t, Section | dict) for t in types):
            return {}
        if types & {int, float} and not types & {bool, str}:
            return _take_as_number(value)
        return value


def _take_as_number(value: Any) -> Any:
    """Return the number that a text such as 1e6 states, or another value. Raises ValueError for a Boolean."""
    if isinstance(value, bool):
        raise ValueError("expected a number, not a Boolean")
    if not isinstance(value, str):
        return value
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value


def plain_types(annotation: Any) -> set[Any]:
    """Return the types in an annotation, without their arguments: of a union, those of its members."""
    origin = get_origin(annotation)
    if origin in (Annotated, Secret):
        return plain_types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set[Any]().union(*map(plain_types, get_args(annotation)))
    return {origin or annotation}


def is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Return True for a class of settings, which has keys of its own."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def setting_paths(annotation: Any, prefix: str = "") -> list[str]:
    """Return the path of each setting in a model and in the sections below it; of other types, `prefix`."""
    models = list(filter(is_model, plain_types(annotation)))
    if not models:
        return [prefix]
    fields = models[0].model_fields
    return [
        path
        for key, f in fields.items()
        for path in setting_paths(f.annotation, f"{prefix}.{f.alias or key}".lstrip("."))
    ]


def keys_of_section(annotation: Any, keys: Sequence[str]) -> list[str]:
    """Return the keys that the section at a path below a type may have; [] where there is none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Secret):
        return keys_of_section(arguments[0], keys)
    if origin in (Union, UnionType):  # of several models, `keys` names one before its own keys
        models = [argument for argument in arguments if argument is not type(None)]
        rest = keys[1:] if len(models) > 1 else keys
        return list(dict.fromkeys(key for model in models for key in keys_of_section(model, rest)))
    if origin in (dict, tuple, list) and keys:
        return keys_of_section(arguments[-1 if origin is dict else 0], keys[1:])
    if not is_model(annotation):
        return []
    fields = annotation.model_fields
    if not keys:
        return [field.alias or key for key, field in fields.items()]
    return keys_of_section(fields[keys[0]].annotation, keys[1:]) if keys[0] in fields else []
