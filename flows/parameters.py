"""Parameters of flows: the sections of Params and what a job asks for, as far as a person sets them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from cosmos.config.evaluate_params import EvaluateParams
from cosmos.config.job_request import JobRequest
from cosmos.config.params import DataParams, LossParams, ModelParams, PretrainParams, ViewParams
from cosmos.config.section import Section

MAX_TITLE = 100


@dataclass(frozen=True)
class Overrides:
    """Annotates a mapping of those values of a section that were set, validated as the section.

    Its schema has no defaults: a form fills them in and submits them as if they had been set, in place of
    what the experiment and the machine say.
    """

    section: type[Section]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Values as they are set, once the section takes them."""
        return core_schema.no_info_after_validator_function(values_set, handler.generate_schema(self.section))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The section's schema; what its defaults are, descriptions tell."""
        schema = handler(core)
        tell_defaults(schema, handler)
        return schema


def values_set(section: Section) -> dict[str, Any]:
    """The values that were set, as JSON has them, without sections in which none was."""
    return pruned(section.model_dump(mode="json", exclude_unset=True))


def pruned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings without those that are empty."""
    inside = {key: pruned(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in inside.items() if value != {}}


def tell_defaults(reference: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    """Moves the defaults of a schema and of what it holds into the descriptions."""
    default = reference.pop("default", None)
    if default not in (None, "", [], {}) and not isinstance(default, Mapping) and "description" in reference:
        reference["description"] += f" (default: {in_words(default)})"
    for field in handler.resolve_ref_schema(reference).get("properties", {}).values():
        tell_defaults(field, handler)


def in_words(default: Any) -> str:
    """A default as a person would write it."""
    return ", ".join(map(str, default)) if isinstance(default, list) else str(default)


Data = Annotated[dict[str, Any], Overrides(DataParams)]
Views = Annotated[dict[str, Any], Overrides(ViewParams)]
Model = Annotated[dict[str, Any], Overrides(ModelParams)]
Loss = Annotated[dict[str, Any], Overrides(LossParams)]
Pretrain = Annotated[dict[str, Any], Overrides(PretrainParams)]
Evaluate = Annotated[dict[str, Any], Overrides(EvaluateParams)]
Slurm = Annotated[dict[str, Any], Overrides(JobRequest)]

UNSET: dict[str, Any] = {}
"""Nothing of a section."""


def title(asked: Mapping[str, Any]) -> str:
    """A name for a flow run with these parameters: the experiment, what was set beside it, where it runs."""
    shown_apart = ("experiment", "cluster", "data_root", "slurm")
    said = " ".join(leaves({key: value for key, value in asked.items() if key not in shown_apart}))
    name = f"{asked['experiment'] or 'params.yaml'} {said}"[:MAX_TITLE].strip()
    return f"{name} on {asked['cluster']}" if "cluster" in asked else name


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`section.key=value` for each value of nested sections."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={in_words(value)}"
