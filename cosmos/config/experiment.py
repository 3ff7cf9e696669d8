"""Experiments: Params from params.yaml, then an experiment's file, then overrides; never the environment.

An experiment's file holds sections of Params, and a head that decides no result. It may extend others.
params.yaml names the experiment that is in force where none is asked for.
"""

import os.path
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from cosmos.config.disk_reading import exists, find_paths, is_file
from cosmos.config.identity import with_first_defaults
from cosmos.config.job_request import JobRequest
from cosmos.config.near_names import near_names
from cosmos.config.params import Params
from cosmos.config.published_run import PublishedRun
from cosmos.config.section import Natural, Section, expand_home
from cosmos.config.settings_file import Layer, dump_settings, read_mapping, read_settings
from cosmos.config.validation import MACHINE_LISTING, explain_validation
from cosmos.errors import InputError

PARAMS_YAML = Path("params.yaml")
EXPERIMENTS = Path("experiments")
EXPERIMENT_KEY = "experiment"
"""Key of params.yaml beside the sections of Params: the experiment in force."""
OVERRIDES_KEY = "overrides"
"""Key of params.yaml: sections whose values win over those of the experiment in force."""
COMMAND_LINE = "the command line"


UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]")
"""Characters that the name of an experiment's file may have, and that in its head not."""


class ExperimentHead(Section):
    """Head of an experiment's file: its name, what it is, what it needs; nothing that decides a result."""

    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] = ""
    """name that its runs begin with; without one: the file's name"""
    about: str = ""
    """description, in a line"""
    cost: str = ""
    """GPUs and steps, in a line"""
    expected: str = ""
    """figures that it should reach, unless they are published ones, in a line"""
    extends: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    """files that it builds on, named from its own folder; later ones win over earlier ones"""
    complete: bool = False
    """the file has every parameter, so that nothing of params.yaml is read"""
    slurm: JobRequest = JobRequest()
    """resources that a job needs"""
    samples: Natural = 0
    """samples of the training data, for `cosmos plan` before it is prepared; 0: not known"""
    published: PublishedRun = PublishedRun()
    """resources that the published run took which this repeats, as far as they are published"""


@dataclass(frozen=True)
class Overlay:
    """An experiment's file as it is written, without what it extends."""

    path: Path
    head: ExperimentHead
    sections: Layer
    """sections of Params, not yet validated"""

    @property
    def name(self) -> str:
        """Name of the experiment: the one that its head gives, or else the file's without .yaml."""
        return self.head.name or self.path.stem


@dataclass(frozen=True)
class Experiment:
    """An experiment, with all that it extends."""

    name: str
    params: Params
    needs: dict[str, Any]
    """keys of JobRequest that it or what it extends sets"""
    about: str
    cost: str
    expected: str
    samples: int = 0
    """samples of the training data, as it or what it extends states them; 0: not stated"""
    published: PublishedRun = field(default_factory=PublishedRun)
    """resources of the published run that it repeats; zeros where it repeats none"""
    origin: str = field(default="", compare=False)
    """files that its parameters come from, and the command line where that sets some"""


RECORDED_SECTIONS = ("data", "views", "model", "loss", "pretrain", "evaluate")
"""Sections that recorded parameters have, whatever version wrote them."""

RECORDED_REMEDY = "put it back: the run does not go on without it"


def load_params(
    experiment: str = "", overrides: dict[str, Any] | None = None, base: Path = PARAMS_YAML
) -> Params:
    """Return the parameters of an experiment; see `load_experiment`."""
    return load_experiment(experiment, overrides, base).params


def load_experiment(
    experiment: str, overrides: dict[str, Any] | None = None, base: Path = PARAMS_YAML
) -> Experiment:
    """Return the experiment of a name or path, overridden by the command line; see `override_experiment`."""
    return override_experiment(experiment, Layer(COMMAND_LINE, overrides or {}), base)


def override_experiment(experiment: str, overrides: Layer, base: Path = PARAMS_YAML) -> Experiment:
    """Return the experiment of this name below experiments/ or path; "" for the one that `base` names.

    Its parameters are those of `base`, then of what it extends, then its own, then `overrides`. Where its
    file is complete, `base` is not read.
    Raises InputError that names each wrong key by its path, and the values or keys that are allowed.
    """
    overlays = lineage(find_experiment_file(experiment)) if experiment else []
    is_complete = bool(overlays) and overlays[-1].head.complete
    layer = Layer(str(base), {}) if is_complete else read_settings(base)
    in_force, overrides_in_force = take_experiment_in_force(base, layer.values)
    if experiment:
        overrides_in_force = {}
    else:
        asker = f"{layer.place([EXPERIMENT_KEY])}: {EXPERIMENT_KEY}: "
        overlays = lineage(find_experiment_file(in_force, asker)) if in_force else []
    head = overlays[-1].head if overlays else ExperimentHead()
    settings = [layer.below(OVERRIDES_KEY, overrides_in_force), overrides]
    layers = [
        *([] if is_complete else [layer]),
        *(overlay.sections for overlay in overlays),
        *(setting for setting in settings if setting.values),
    ]
    return Experiment(
        name=overlays[-1].name if overlays else "default",
        params=_validate_layers(layers),
        needs=_merge_needs(overlays),
        about=head.about,
        cost=head.cost,
        expected=head.expected,
        samples=next((o.head.samples for o in reversed(overlays) if o.head.samples), 0),
        published=head.published,
        origin=_describe_layers(layers),
    )


def _merge_needs(overlays: Iterable[Overlay]) -> dict[str, Any]:
    return {
        k: v for overlay in overlays for k, v in overlay.head.slurm.model_dump(exclude_unset=True).items()
    }


def load_recorded_params(path: Path) -> Params:
    """Return the parameters that a record such as a run's params.yaml holds.

    Knobs that were added since it was written have the default that they were introduced with. Raises
    InputError for a file that was cut short or emptied: what it lacks would pass for the defaults.
    """
    values = read_mapping(path)
    if missing := [section for section in RECORDED_SECTIONS if section not in values]:
        raise InputError(f"{path}: cut short, without {', '.join(missing)}; {RECORDED_REMEDY}")
    return _validate_layers([Layer(str(path), with_first_defaults(values))])


def take_experiment_in_force(base: Path, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Remove from the values of `base` the experiment that it names and its overrides, and return them."""
    name, overrides = values.pop(EXPERIMENT_KEY, None), values.pop(OVERRIDES_KEY, None)
    name, overrides = "" if name is None else name, {} if overrides is None else overrides
    if not isinstance(name, str):
        raise InputError(f"{base}: {EXPERIMENT_KEY}: expected the name of an experiment, found {name!r}")
    if not isinstance(overrides, dict):
        raise InputError(
            f"{base}: {OVERRIDES_KEY}: expected sections such as `pretrain:`, found {overrides!r}"
        )
    return name, overrides


def dump_experiment(experiment: Experiment) -> str:
    """Return a whole experiment as the text of an experiment's file, which needs no other file."""
    head = ExperimentHead(
        name=UNSAFE_IN_NAME.sub("-", experiment.name).lstrip("-._"),
        about=experiment.about,
        cost=experiment.cost,
        expected=experiment.expected,
        samples=experiment.samples,
        published=experiment.published,
        slurm=JobRequest.model_validate(experiment.needs),
        complete=True,
    )
    set_keys = {
        key: value for key, value in head.model_dump(mode="json", exclude_unset=True).items() if value
    }
    values = {**set_keys, **experiment.params.model_dump(mode="json")}
    return dump_settings(values)


def lineage(path: Path, extending: tuple[Path, ...] = ()) -> list[Overlay]:
    """Return the files that the one at `path` extends, then itself: each once, after all that it extends.

    `extending`: files that led here. Raises InputError for a circle, and for a file that is missing or wrong.
    """
    if path in extending:
        circle = " -> ".join(map(str, (*extending[extending.index(path) :], path)))
        raise InputError(f"{path}: extends itself ({circle}); take one of these out of its `extends`")
    overlay = read_overlay(path)
    parents = (parent_file(path, name) for name in overlay.head.extends)
    before = [extended for parent in parents for extended in lineage(parent, (*extending, path))]
    return list({extended.path: extended for extended in (*before, overlay)}.values())


def read_overlay(path: Path) -> Overlay:
    """Return the experiment's file at `path`. Raises InputError that names what is wrong with its head."""
    layer = read_settings(path)
    head = {key: layer.values.pop(key) for key in ExperimentHead.model_fields if key in layer.values}
    try:
        return Overlay(path, ExperimentHead.model_validate(head), layer)
    except ValidationError as error:
        sources = [replace(layer, values=head)]
        problems = explain_validation(error, ExperimentHead, MACHINE_LISTING, sources)
        raise InputError(f"{path}:\n{problems}") from None


def merge_sections(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `overlay` in place of its own, section by section.

    An empty section, whose keys are all commented out, changes nothing.
    """
    result = dict(base)
    for key, value in overlay.items():
        old = result.get(key)
        if isinstance(old, dict) and (value is None or isinstance(value, dict)):
            result[key] = merge_sections(old, value or {})
        else:
            result[key] = value
    return result


def merge_layers(layers: Iterable[Layer]) -> dict[str, Any]:
    """Return the values of all layers, the later ones over the earlier ones."""
    values: dict[str, Any] = {}
    return reduce(merge_sections, (layer.values for layer in layers), values)


def experiment_file(experiment: str) -> Path:
    """Return the file that `experiment` names: a path to a YAML file, or a name below experiments/."""
    given = expand_home(Path(experiment))
    path = _yaml_file(given)
    return path if path == given else EXPERIMENTS / path


def find_experiment_file(experiment: str, asker: str = "") -> Path:
    """Return the file that `experiment` names.

    Raises InputError for a name that there is not: it begins with `asker`, and lists names near that one.
    """
    path = experiment_file(experiment)
    if not exists(path):  # False for a name that is too long, too
        raise InputError(f"{asker}{path}: no such file; {near_names(experiment, experiment_names())}")
    return path


def experiment_names(folder: Path = EXPERIMENTS) -> list[str]:
    """Return the names of the experiments (or, in its folder, the sweeps) that there are, in order.

    Hidden files, such as those that editors and other systems leave, are none.
    """
    return sorted(path.stem for path in find_paths(folder, "*.yaml"))


def parent_file(path: Path, name: str) -> Path:
    """Return the file that the one at `path` extends by this name. Raises InputError if there is none."""
    parent = _yaml_file(Path(os.path.normpath(path.parent / name)))
    if not is_file(parent):  # False for a name that is too long, too
        near = near_names(parent.stem, experiment_names(parent.parent))
        start = f"names in `extends` start from {path.parent}"
        raise InputError(f"{path}: extends {name}, but there is no {parent}; {start}; {near}")
    return parent


def _validate_layers(layers: Sequence[Layer]) -> Params:
    """Return the parameters of layers, the later ones over the earlier ones."""
    try:
        return Params.model_validate(merge_layers(layers))
    except ValidationError as error:
        head = [*ExperimentHead.model_fields, EXPERIMENT_KEY, OVERRIDES_KEY]
        problems = explain_validation(error, Params, layers=layers, head=head)
        raise InputError(f"parameters from {_describe_layers(layers)}:\n{problems}") from None


def _describe_layers(layers: Iterable[Layer]) -> str:
    return ", ".join(layer.name for layer in layers)


def _yaml_file(path: Path) -> Path:
    return path if path.suffix in (".yaml", ".yml") else Path(f"{path}.yaml")
