"""Run that a checkpoint lies in: the file is to be of its training, and of the step that its name says.

Checkpoints of two runs hold the same names and shapes, so that one in the place of another would be trained
on from, or measured, without a word. Nothing here imports torch.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import is_file
from cosmos.config.identity import training_fingerprint
from cosmos.errors import DamagedDataError, InputError
from cosmos.run.dataset_version import RecordedVersion
from cosmos.run.directory import CHECKPOINT_NAME, RunDir, load_saved_params, step_of_checkpoint

TRAINING_KEY = "training"
"""Key of a checkpoint below which the fingerprint of its training is; files of earlier versions have none."""

DATA_KEY = "training_data"
"""Key of a checkpoint below which the hash of what it was trained on is, as `Manifest.content_hash`."""


def origin_of_run(run: RunDir) -> dict[str, str]:
    """Return what a run's checkpoints say of their origin, by key, as far as its files are there and whole.

    Raises TransientError where one of them cannot be read for now.
    """
    origin = dict[str, str]()
    with suppress(InputError, DamagedDataError):  # whoever needs them says so
        if is_file(run.params):
            origin[TRAINING_KEY] = training_fingerprint(load_saved_params(run))
    with suppress(InputError, DamagedDataError):
        if content := RecordedVersion.of(run).content:
            origin[DATA_KEY] = content
    return origin


def refuse_other_training(path: Path, content: Mapping[str, Any]) -> None:
    """Raise InputError for a checkpoint in a run that another training, or another step, saved.

    What it does not say, as one of an earlier version, is not looked at; nor is a file outside of runs.
    """
    run = RunDir(path.absolute().parent.parent)
    is_in_run = path.absolute().parent in (run.checkpoints, run.evaluations) and is_file(run.metrics)
    if not (is_in_run and CHECKPOINT_NAME.fullmatch(path.name)):
        return
    others = {
        TRAINING_KEY: f"by another training than that of {run.params}, whose parameters differ",
        DATA_KEY: f"by a training on other data than that of {run.provenance}",
    }
    for key, of_run in origin_of_run(run).items():
        if isinstance(saved := content.get(key), str) and saved != of_run:
            raise InputError(
                f"{path}: saved {others[key]}; move it out of the run, and bring the run's own back"
            )
    step = content.get("step")
    if type(step) is int and step != step_of_checkpoint(path):
        raise InputError(
            f"{path}: holds step {step}, not the one that its name says; name it {run.checkpoint(step).name},"
            " or move it out of the run"
        )
