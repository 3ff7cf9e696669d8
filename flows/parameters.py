"""Parameters of flows: the values of Params and of a job request that a person sets; titles of flow runs."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from prefect.runtime import flow_run as this_run
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from cosmos.config.disk_reading import folders_with
from cosmos.config.evaluate_params import EvaluateParams
from cosmos.config.experiment import EXPERIMENTS, experiment_names
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, LossParams, ModelParams, PretrainParams, ViewParams
from cosmos.config.section import Section
from cosmos.config.sweep_loading import SWEEPS_FOLDER
from cosmos.errors import CosmosError

MAX_TITLE = 100

MAX_OFFERED = 100
"""Largest number of runs or sweeps that a form offers."""


@dataclass(frozen=True)
class Overrides:
    """Annotation of a mapping of the values of a section that were set, validated as the section.

    Its schema has no defaults: a form fills them in and submits them as if they had been set, in place of
    the values of the experiment and the machine.
    """

    section: type[Section]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of values that the section accepts, kept as they were set."""
        return core_schema.no_info_after_validator_function(values_set, handler.generate_schema(self.section))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the section's schema, with its defaults in the descriptions."""
        schema = handler(core)
        describe_defaults(schema, handler)
        return schema


@dataclass(frozen=True)
class Names:
    """Annotation of a name of a file in a folder, which a form offers and the server holds a parameter to.

    The names are those that there are when the flow is deployed. A flow that runs takes any name, since
    files may have come since.
    """

    folder: Path
    is_optional: bool = True
    """True where "" is a name, too"""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of a text that is one of the names; of any text where there are none."""
        names = list(filter(str.isprintable, experiment_names(self.folder)))
        offered = [*([""] if self.is_optional else []), *names]
        return {**handler(core), **({"enum": offered} if names else {})}


@dataclass(frozen=True)
class Offered:
    """Annotation of a text for which a form offers names, beside a field for any other text.

    The names are those that there are when the flow is deployed. The server takes any text.
    """

    title: str
    """heading of the names in the form"""
    folders_file: str
    """file by which a folder of the machine's runs is one that is offered"""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of any text, with the names apart where there are some."""
        names = newest_folders(self.folders_file)
        named = {"title": self.title, "type": "string", "enum": names}
        other = {**handler(core), "title": "another"}
        return {"anyOf": [named, other]} if names else handler(core)


def newest_folders(file: str) -> list[str]:
    """Return the names of the folders of runs that have a file, the newest first, at most MAX_OFFERED.

    None where the folder of runs cannot be read: a form without names is better than no flow.
    """
    with suppress(CosmosError, OSError):
        folders = folders_with(Machine().runs_root, file)
        newest = sorted(folders, key=lambda folder: (folder / file).stat().st_mtime, reverse=True)
        names = filter(
            str.isprintable, (folder.name for folder in newest)
        )  # bytes that are no text cannot be sent
        return list(islice(names, MAX_OFFERED))
    return []


def values_set(section: Section) -> dict[str, Any]:
    """Return the values that were set, as JSON has them, without sections in which none was."""
    return without_empty(section.model_dump(mode="json", exclude_unset=True))


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings without those that are empty."""
    inside = {
        key: without_empty(value) if isinstance(value, Mapping) else value for key, value in values.items()
    }
    return {key: value for key, value in inside.items() if value != {}}


def describe_defaults(reference: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    """Move the defaults of a schema, and of its fields, into their descriptions."""
    default = reference.pop("default", None)
    if default not in (None, "", [], {}) and not isinstance(default, Mapping) and "description" in reference:
        reference["description"] += f" (default: {format_value(default)})"
    for field in handler.resolve_ref_schema(reference).get("properties", {}).values():
        describe_defaults(field, handler)


def format_value(value: Any) -> str:
    """Return a value as a person would write it."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


ExperimentName = Annotated[str, Names(EXPERIMENTS)]
SweepName = Annotated[str, Names(SWEEPS_FOLDER, is_optional=False), Field(min_length=1)]
Checkpoint = Annotated[str, Offered("a run", "checkpoints")]
EarlierSweep = Annotated[str, Offered("a sweep", "sweep.yaml")]

Data = Annotated[dict[str, Any], Overrides(DataParams)]
Views = Annotated[dict[str, Any], Overrides(ViewParams)]
Model = Annotated[dict[str, Any], Overrides(ModelParams)]
Loss = Annotated[dict[str, Any], Overrides(LossParams)]
Pretrain = Annotated[dict[str, Any], Overrides(PretrainParams)]
Evaluate = Annotated[dict[str, Any], Overrides(EvaluateParams)]
Slurm = Annotated[dict[str, Any], Overrides(JobRequest)]

UNSET: dict[str, Any] = {}
"""Values of a section of which none was set."""


def current_run_title() -> str:
    """Return a title for the flow run that is running."""
    return flow_run_title(this_run.parameters)


def flow_run_title(parameters: Mapping[str, Any]) -> str:
    """Return a title for a flow run: the experiment, what was set beside it, the cluster."""
    shown_apart = ("experiment", "cluster", "data_root", "slurm")
    settings = " ".join(assignments({k: v for k, v in parameters.items() if k not in shown_apart}))
    title = f"{parameters['experiment'] or 'params.yaml'} {settings}"[:MAX_TITLE].strip()
    return f"{title} on {parameters['cluster']}" if "cluster" in parameters else title


def assignments(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield `section.key=value` for each value of nested sections."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from assignments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={format_value(value)}"
