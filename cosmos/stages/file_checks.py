"""Checks of the files of datasets, runs and sweeps: each reads a file, and raises what is wrong with it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists, find_paths, is_dir, is_file, lexists, open_regular
from cosmos.config.experiment import RECORDED_REMEDY
from cosmos.config.figures import EPOCH, STEP
from cosmos.config.machine import Machine
from cosmos.data.drawn_sets import COMPLETE_FILE, find_changed_file
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.preparation import DATASET_PARAMS_FILE, WRITER_FILE
from cosmos.data.shards.index import index_path
from cosmos.data.shards.samples import ShardedSamples, read_index
from cosmos.data.shards.verification import verify_shard
from cosmos.data.sources.listing import LISTING_FILE, SourceListing
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.evaluation.embedding_cache import PART_SUFFIX, read_part
from cosmos.evaluation.value_file import read_image_values
from cosmos.launch.submission import read_submission
from cosmos.model.checkpoints import read_checkpoint
from cosmos.run.directory import RunDir, load_saved_params
from cosmos.run.earlier_trials import EarlierTrials
from cosmos.run.labels import RunLabels
from cosmos.run.lease import read_holder
from cosmos.run.metrics import MetricsLines, read_metrics
from cosmos.run.model_card import CARD_FILE, ModelCard
from cosmos.run.provenance import file_sha256
from cosmos.run.provenance_record import read_provenance
from cosmos.run.records import read_record
from cosmos.run.results import Results
from cosmos.run.step_trace import StepTrace
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.stages.pretrain_data import read_data_record
from cosmos.tracking.note import MirrorNote

SPLITS = ("train", "heldout")

ZIP_START, ZIP_END = b"PK\3\4", b"PK\5\6"
"""First bytes of a zip archive, and those of the record that ends it."""

ZIP_END_BYTES = 22
"""Bytes of the record that ends a zip archive without a comment."""


@dataclass(frozen=True)
class FileCheck:
    """A file, and the function that reads all of it."""

    num_bytes: int
    read: Callable[[], object]
    """raises an error of ours, which names the file and the remedy, for one that is damaged"""

    @classmethod
    def of(cls, file: Path, read: Callable[[], object]) -> "FileCheck":
        """Return the check of a file of this machine."""
        return cls(file.stat().st_size if is_file(file) else 0, partial(_read_to_end, file, read))


def _read_to_end(file: Path, read: Callable[[], object]) -> None:
    """Read a file, and raise DamagedDataError for a zip archive of torch or NumPy that goes on after its end.

    Readers do not look there, and what they read is whole.
    """
    read()
    with suppress(FileNotFoundError), open_regular(file) as stream:
        if stream.read(len(ZIP_START)) != ZIP_START:
            return
        stream.seek(-ZIP_END_BYTES, os.SEEK_END)
        if not stream.read().startswith(ZIP_END):
            raise DamagedDataError(
                f"{file}: other bytes follow its end; what it holds is whole: copy it again"
            )


def naming_unlisted(checks: Iterator[FileCheck]) -> Iterator[FileCheck]:
    """Yield checks, and one that fails in place of those in a folder that cannot be listed."""
    try:
        yield from checks
    except (CosmosError, OSError) as error:
        yield FileCheck(0, partial(_raise, error))


def _raise(error: Exception) -> None:
    raise error


def checks_of_dataset(folder: Path, machine: Machine) -> Iterator[FileCheck]:
    """Yield the checks of a prepared dataset: parameters, listing of the source, manifests and shards.

    Raises TransientError for one that is not prepared to its end.
    """
    if exists(folder / WRITER_FILE):
        raise TransientError(
            f"{folder}: is being prepared, or that was killed: `cosmos prepare` completes it"
        )
    params, listing = folder / DATASET_PARAMS_FILE, folder / LISTING_FILE
    yield FileCheck.of(
        params, lambda: _read_object(params, "record of parameters", "`cosmos prepare` writes it again")
    )
    if exists(listing):
        yield FileCheck.of(listing, lambda: SourceListing.read(folder))
    if exists(sets := folder / "evaluation"):
        yield FileCheck(0, lambda: _check_sets(sets))
    prepared = [path.parent.name for path in find_paths(folder, f"*/{MANIFEST_FILE}")]
    begun = [split for split in SPLITS if split == "train" or exists(folder / split)]
    for split in dict.fromkeys([*begun, *prepared]):
        yield from checks_of_split(folder / split, machine)


def checks_of_split(folder: Path, machine: Machine) -> Iterator[FileCheck]:
    """Yield the checks of a split: its manifest, and each shard with its index."""
    yield FileCheck.of(folder / MANIFEST_FILE, lambda: Manifest.read(folder))
    try:
        samples = ShardedSamples(folder, machine)
    except (CosmosError, OSError):  # the check of the manifest says so
        return
    for shard in samples.manifest.shards:
        yield FileCheck.of(index_path(folder, shard.path), partial(read_index, shard, folder))
        yield FileCheck(shard.num_bytes, partial(verify_shard, samples, shard, machine))


def checks_of_run(run: RunDir) -> Iterator[FileCheck]:
    """Yield the checks of a run, or of a model that is a copy of one: records, checkpoints, embeddings."""
    yield FileCheck.of(run.params, lambda: _check_params(run))
    yield from checks_of_records(run)
    yield FileCheck(0, lambda: _check_last_checkpoint(run))
    for path in (*run.saved_checkpoints, *run.unevaluated_checkpoints, *find_paths(run.path, "*.pt")):
        yield FileCheck.of(path, partial(_check_checkpoint, path))
    for path in find_paths(run.embeddings, f"*/*/*{PART_SUFFIX}"):
        yield FileCheck.of(path, partial(_check_embeddings, path))


def checks_of_records(run: RunDir) -> Iterator[FileCheck]:
    """Yield the checks of the records that a run has."""
    readers: dict[Path, Callable[[], object]] = {
        run.provenance: lambda: read_provenance(run.provenance),
        run.data: lambda: read_data_record(run),
        run.metrics: lambda: _check_metrics(run.metrics),
        run.timing: lambda: _check_trace(run.timing),
        run.labels: lambda: RunLabels.of(run),
        run.trial: lambda: TrialRecord.of(run),
        run.job: lambda: read_submission(run.job),
        run.evaluation_job: lambda: read_submission(run.evaluation_job),
        run.lease: lambda: read_holder(run.lease),
        run.wandb: lambda: read_record(run.wandb, MirrorNote, "note of the run in W&B", "delete it"),
        **{path: partial(Results(path, path.stem).entries) for path in run.result_files},
        **{path: partial(read_image_values, path) for path in run.image_value_files},
    }
    for path, read in readers.items():
        if lexists(path):
            yield FileCheck.of(path, read if exists(path) else partial(_refuse_link, path))


def checks_of_sweep(folder: Path) -> Iterator[FileCheck]:
    """Yield the checks of a sweep: definition, records, conclusion, and the runs of its trials."""
    yield from naming_unlisted(checks_of_study(SweepDir(folder)))
    for path in filter(is_dir, find_paths(folder, "trial-*")):
        yield from naming_unlisted(checks_of_run(RunDir(path)))


def checks_of_study(sweep: SweepDir) -> Iterator[FileCheck]:
    """Yield the checks of a sweep's own files."""
    yield FileCheck.of(sweep.definition, sweep.sweep)
    yield from checks_of_records(sweep.own)
    if exists(sweep.like):
        yield FileCheck.of(sweep.like, lambda: EarlierTrials.of(sweep.like))
    if exists(sweep.best):
        yield FileCheck.of(sweep.best, lambda: _read_object(sweep.best, "conclusion of a sweep", "delete it"))


def _read_object(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    try:
        return read_record(path, dict[str, Any], kind, remedy)
    except FileNotFoundError:
        raise DamagedDataError(f"{path}: no such file; {remedy}") from None


def _check_sets(folder: Path) -> None:
    if changed := find_changed_file(folder):
        problem = f"not as {COMPLETE_FILE} has it, or missing"
        raise DamagedDataError(f"{changed}: {problem}; `cosmos prepare` draws it again")


def _check_params(run: RunDir) -> None:
    """Read the parameters, to the end of the last line; a trial that has not begun has none yet."""
    begun = (run.params, run.job, run.provenance, run.metrics, run.checkpoints)
    if not any(map(exists, begun)):  # its sweep writes them next, or does so when it goes on
        return
    if not exists(run.params):
        raise DamagedDataError(f"{run.params}: no such file; {RECORDED_REMEDY}")
    load_saved_params(run)
    if not run.params.read_bytes().endswith(b"\n"):
        raise DamagedDataError(f"{run.params}: cut short; {RECORDED_REMEDY}")


def _check_metrics(path: Path) -> None:
    if damage := MetricsLines.of(path).damage:
        raise DamagedDataError(f"{damage}; they are left out, and dropped when the run goes on")


def _check_trace(path: Path) -> None:
    if damage := StepTrace.of(path).damage:
        raise DamagedDataError(f"{damage}; they are left out, and dropped when the run goes on")


def _refuse_link(path: Path) -> None:
    raise DamagedDataError(f"{path}: a link that leads to no file; bring the file back, or delete the link")


def _check_last_checkpoint(run: RunDir) -> None:
    """Raise DamagedDataError for a run that was trained to its end or a rung, and lacks its checkpoint.

    A model that is a copy of a run keeps it beside its card.
    """
    if exists(run.path / CARD_FILE):
        if not find_paths(run.path, "*.pt"):
            remedy = "put it back, as by `dvc checkout` or `dvc pull`"
            raise DamagedDataError(f"{run.path}: the checkpoint that {CARD_FILE} is of is missing; {remedy}")
        return
    written = read_metrics(run.metrics) if is_file(run.metrics) else []
    lines = [line for line in written if line.get(EPOCH.name)]
    epochs, place = _trained_epochs(run, lines[-1] if lines else {})
    if not epochs or not lines:
        return
    path = run.checkpoint(round(lines[-1][STEP.name] / lines[-1][EPOCH.name] * epochs))
    if not lexists(path):
        remedy = "put it back, or train again: the same command goes on from the newest save that is left"
        raise DamagedDataError(f"{path}: missing, though the run was trained to its {place}; {remedy}")


def _trained_epochs(run: RunDir, last: Mapping[str, Any]) -> tuple[int, str]:
    """Return the epochs of the end or the rung that a run was trained to, and its name; 0: neither.

    `last`: the last line of its metrics.
    """
    with suppress(CosmosError, OSError):  # the check of the record says so
        if exists(run.trial) and (record := TrialRecord.of(run)).state == "paused":
            return record.epochs_reached, "rung"
    with suppress(CosmosError, OSError):  # the check of the parameters says so
        epochs = load_saved_params(run).pretrain.epochs
        return (epochs, "end") if last.get(EPOCH.name, 0) >= epochs else (0, "")
    return 0, ""


def _check_checkpoint(path: Path) -> None:
    """Read a checkpoint; one that its run has removed since it was listed is passed over."""
    try:
        read_checkpoint(path)
    except InputError:
        if lexists(path):  # also a link to nothing
            raise
        return
    card = ModelCard.read(path.parent)
    if card and card.sha256 != file_sha256(path):
        raise DamagedDataError(
            f"{path}: not the file that card.json beside it is of; put it back, as by `dvc checkout`"
        )


def _check_embeddings(path: Path) -> None:
    try:
        read_part(path)
    except DamagedDataError as error:
        raise DamagedDataError(f"{error}; delete it: its embeddings are computed again") from None
    except FileNotFoundError:  # removed since
        pass
