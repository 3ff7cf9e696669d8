"""Origin of a checkpoint: the run that trained it, and its data, on which it is evaluated by default.

Nothing here imports torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, get_args

from cosmos.config.disk_reading import folders_with, is_dir, is_file
from cosmos.config.evaluate_params import PREPARED_SPLITS, SuiteName
from cosmos.config.experiment import Experiment, load_recorded_params, merge_sections
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.params import DataParams, Params
from cosmos.config.section import expand_home
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.errors import InputError
from cosmos.model.checkpoint_reference import (
    FileReference,
    checkpoint_to_evaluate,
    parse_checkpoint_reference,
)
from cosmos.run import provenance
from cosmos.run.dataset_version import DatasetVersion, RecordedVersion
from cosmos.run.directory import RunDir, run_path
from cosmos.run.files import hashed_label
from cosmos.run.model_card import CARD_FILE, ModelCard
from cosmos.run.results import Results
from cosmos.stages.run_opening import read_dataset_version


def is_prepared(suite: SuiteName | str, dataset: str) -> bool:
    """Return True for a dataset of evaluation that is a part of the prepared dataset."""
    return dataset == "demo" or (suite == "retrieval" and dataset in PREPARED_SPLITS)


def find_training_records(run: RunDir, checkpoint: str) -> RunDir | None:
    """Return the folder with the parameters that a checkpoint was trained with; None where there is none.

    It is the run that the checkpoint lies in, or a folder that DVC keeps of one (pipeline/model, models/...).
    Of a checkpoint from elsewhere it is the run that its results go to. InputError for no checkpoint.
    """
    reference = checkpoint_to_evaluate(run, checkpoint)
    parents = reference.path.absolute().parents[:2] if isinstance(reference, FileReference) else ()
    folders = map(RunDir, (*parents, run.path))
    return next((folder for folder in folders if has_training_records(folder)), None)


def has_training_records(folder: RunDir) -> bool:
    """Return True for the folder of a run that was trained; a project's params.yaml alone is no record."""
    return is_file(folder.params) and is_file(folder.metrics)


def find_trained_run(file: Path, machine: Machine) -> RunDir | None:
    """Return the run whose newest checkpoint a file is; None where no such run is on this machine.

    The file lies in the run, or a card beside it (in pipeline/model, models/...) names the run that it is a
    copy of.
    """
    folder = file.absolute().parent
    card = ModelCard.read(folder)
    run = RunDir(folder.parent)
    if card:
        try:
            run = RunDir(run_path(machine.runs_root, card.run, CARD_FILE))
        except InputError:  # a stranger's card
            return None
    newest = run.saved_checkpoints[:1] if has_training_records(run) else []
    return run if newest and has_same_bytes(newest[0], file) else None


def has_same_bytes(file: Path, other: Path) -> bool:
    """Return True when two files are the same, or have the same content."""
    if not is_file(other) or file.stat().st_size != other.stat().st_size:
        return False
    return file.samefile(other) or provenance.file_sha256(file) == provenance.file_sha256(other)


def run_of_results(checkpoint: str, machine: Machine) -> tuple[Path, str]:
    """Return the run directory for results of a checkpoint, and the checkpoint ("": the run's newest).

    Of a run that this user can only read, such as a colleague's, it is a folder of its own, as of a
    checkpoint without a run. That is called after the reference, with a hash where results of another one
    are in that of the same label.
    """
    reference = parse_checkpoint_reference(checkpoint)
    run = find_trained_run(reference.path, machine) if isinstance(reference, FileReference) else None
    if run and os.access(run.path, os.W_OK):
        return run.path, ""
    path = run_path(machine.runs_root, reference.label, "--checkpoint without --run")
    results = (Results(RunDir(path).result_file(suite), suite) for suite in get_args(SuiteName))
    if any(result.has_another(checkpoint) for result in results):
        path = path.with_name(hashed_label(checkpoint))
    return path, checkpoint


def run_of_checkpoint(name: str, machine: Machine) -> tuple[Path, str]:
    """Return the run directory for results of the checkpoint `name`, and the checkpoint ("": its newest).

    A run is named, or its directory is. Raises InputError for a name that is neither a file, nor a run, nor a
    reference such as `published:NAME`.
    """
    for path in (expand_home(Path(name)), machine.runs_root / name):
        if is_dir(RunDir(path).checkpoints):
            return path, ""
    reference = parse_checkpoint_reference(name)
    if isinstance(reference, FileReference) and not reference.exists:
        runs = [folder.name for folder in folders_with(machine.runs_root, "checkpoints")]
        near = near_names(name, runs)
        raise InputError(f"{name}: no checkpoint's file, and no run in {machine.runs_root}; {near}")
    return run_of_results(name, machine)


def on_own_data(
    experiment: Experiment, run: RunDir, checkpoint: str, given: Mapping[str, Any] | None = None
) -> Experiment:
    """Return an experiment that evaluates a checkpoint on the data that it was trained on.

    `given`: the settings of `data` that the command line gives; with a name among them, or for a checkpoint
    whose training left no parameters, the data stays that of the experiment.
    """
    records = None if "name" in (given or {}) else find_training_records(run, checkpoint)
    if records is None:
        return experiment
    trained_with = load_recorded_params(records.params).data.model_dump()
    data = DataParams.model_validate(merge_sections(trained_with, dict(given or {})))
    return replace(experiment, params=experiment.params.model_copy(update={"data": data}))


@dataclass(frozen=True)
class DataOrigin:
    """Versions of the prepared dataset that a checkpoint was trained on and that it is measured on."""

    trained_on: RecordedVersion = field(default_factory=RecordedVersion)
    measured_on: DatasetVersion | None = None
    """None without a training split"""

    @classmethod
    def of(cls, run: RunDir, checkpoint: str, params: Params, machine: Machine) -> Self:
        """Return the versions for the evaluation of a checkpoint. DamagedDataError for a damaged record."""
        records = find_training_records(run, checkpoint)
        trained_on = RecordedVersion.of(records) if records else RecordedVersion()
        has_train = is_file(machine.dataset(params.data.name, "train") / MANIFEST_FILE)
        return cls(trained_on, read_dataset_version(params, machine) if has_train else None)

    @property
    def is_own(self) -> bool | None:
        """True where the versions are the same; None where one is not recorded."""
        if self.measured_on is None or not self.trained_on.is_known:
            return None
        return self.trained_on.is_same(self.measured_on)

    @property
    def note(self) -> str:
        """Remark for results on other data than that of the training; "" for others."""
        if self.is_own is not False:
            return ""
        return (
            f"of other data than the run's own: its training split has {self.measured_on}, "
            f"the run was trained on {self.trained_on}"
        )
