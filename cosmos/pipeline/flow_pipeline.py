"""Pipelines of flows: a flow with parameters of its own has them, and its outputs, in pipelines/<name>/.

Its stages are those of the root's dvc.yaml, with that folder in place of pipeline/. params.yaml of the
checkout is only read, so that flows of different parameters, and commands beside them, do not meet.
"""

import logging
import os.path
import re
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.experiment import PARAMS_YAML, dump_experiment, load_experiment
from cosmos.config.params import Params
from cosmos.config.settings_file import dump_settings, read_settings
from cosmos.errors import InputError
from cosmos.pipeline.directory import PIPELINE, PIPELINES, PipelineDir
from cosmos.run.directory import run_name
from cosmos.run.files import file_label, write_text

logger = logging.getLogger(__name__)

DVC_YAML = Path("dvc.yaml")

CHOSEN_IN = ("experiments", str(PARAMS_YAML))
"""Dependencies of the root's stage `params`: files in which its experiment is chosen."""

OUTPUTS = ("outs", "metrics", "plots")
"""Keys of a stage that list its outputs."""

FOLDER_IN_TEXT = re.compile(rf"(?<![\w./-]){PIPELINE.folder}(?=/|\s|$)")
"""Name of the root pipeline's folder, at the beginning of a path in a command or in a list of files."""

HEADER = "# Made by a flow from ../../dvc.yaml, for the parameters in params.yaml beside it.\n"

PARAMS_BEFORE = Path(".dvc/tmp/params-before.yaml")
"""Copy of params.yaml from before a flow of an older version put other parameters there."""
PARAMS_IN_FORCE = Path(".dvc/tmp/params-in-force.yaml")
"""Copy of params.yaml as a flow of an older version left it."""


def open_pipeline(root: Path, experiment: str, overrides: dict[str, Any]) -> PipelineDir:
    """Return the pipeline of an experiment with overrides, whose parameters and stages are written.

    It has a folder below pipelines/, called after the experiment and a hash of its parameters; without an
    experiment and overrides, it is that of `dvc repro`. Raises InputError for wrong parameters.
    """
    restore_params(root)
    resolved = load_experiment(experiment, overrides, root / PARAMS_YAML)
    if not (experiment or overrides):
        return PIPELINE
    pipeline = PipelineDir(PIPELINES / file_label(run_name(resolved)))
    write_text(root / pipeline.parameters, dump_experiment(resolved))
    write_text(root / pipeline.definition, HEADER + relocate_stages(root / DVC_YAML, pipeline))
    return pipeline


def require_parameters(root: Path, pipeline: PipelineDir, promised: Params) -> None:
    """Raise InputError where the parameters of a pipeline are no longer those that a flow began with."""
    own = str(root / pipeline.parameters) if pipeline != PIPELINE else ""
    if load_experiment(own, {}, root / PARAMS_YAML).params != promised:
        raise InputError(
            f"{own or PARAMS_YAML}: was edited while a flow had its parameters from there; run the flow "
            "again, or give it parameters of its own, which it keeps in a folder of its own"
        )


def relocate_stages(dvc_yaml: Path, pipeline: PipelineDir) -> str:
    """Return the text of a dvc.yaml whose stages fill another folder than those of the root's.

    A stage with an output elsewhere is left out: DVC refuses to work where two stages have the same output.
    """
    definition = read_settings(dvc_yaml).values
    stages = replace_folder_name(definition.pop("stages", {}), f"{pipeline.folder}")
    if "params" not in stages:
        raise InputError(f"{dvc_yaml}: has no stage `params`, by which a flow sets parameters")
    choose_parameters(stages["params"], pipeline)
    own = {name: stage for name, stage in stages.items() if fills_folder(stage, pipeline.folder)}
    for stage in map(stage_body, own.values()):
        stage["wdir"] = os.path.normpath(Path(*[".."] * len(pipeline.folder.parts), stage.get("wdir", "")))
    beside = replace_folder_name(definition, ".")  # plots, named from the file's own folder
    return dump_settings({"stages": own, **beside})


def fills_folder(stage: dict[str, Any], folder: Path) -> bool:
    """Return True when all outputs of a stage lie below a folder, so that no other pipeline has them."""
    body = stage_body(stage)
    outputs = [output for key in OUTPUTS for output in body.get(key, [])]
    paths = [next(iter(output)) if isinstance(output, dict) else output for output in outputs]
    places = (Path(os.path.normpath(Path(body.get("wdir", ""), path))) for path in paths)
    return all(place.is_relative_to(folder) for place in places)


def stage_body(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping that has the command of a stage: the stage, or the template of a `foreach`."""
    body: dict[str, Any] = stage.get("do", stage)
    return body


def choose_parameters(stage: dict[str, Any], pipeline: PipelineDir) -> None:
    """Let a stage `params` read the parameters of a pipeline in place of those that the checkout has."""
    own = str(pipeline.parameters)
    stage["cmd"] = f"{stage['cmd']} --experiment {own}"
    stage["deps"] = [*(dep for dep in stage["deps"] if dep not in CHOSEN_IN), own]


def replace_folder_name(value: Any, folder: str) -> Any:
    """Return nested lists and mappings with a folder in place of the root pipeline's, in keys too."""
    if isinstance(value, str):
        return FOLDER_IN_TEXT.sub(folder, value)
    if isinstance(value, dict):
        return {replace_folder_name(k, folder): replace_folder_name(v, folder) for k, v in value.items()}
    return [replace_folder_name(item, folder) for item in value] if isinstance(value, list) else value


def restore_params(root: Path) -> None:
    """Restore params.yaml after a crash of an older version's flow, which put its own parameters there."""
    before, base = root / PARAMS_BEFORE, root / PARAMS_YAML
    if not exists(before):
        return
    if base.read_bytes() == (root / PARAMS_IN_FORCE).read_bytes():
        before.replace(base)
        logger.warning("%s: restored, since a flow that crashed had left its parameters there", base)
    else:
        kept = before.replace(before.with_name("params-kept.yaml"))
        logger.warning("%s: edited since a flow left its parameters there; it was as in %s", base, kept)
