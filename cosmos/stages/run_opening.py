"""Opening of run directories for pretrainings on a dataset, of the version that is prepared now."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.prepared_data import with_source
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.order import refuse_large_batch
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.run.dataset_version import DatasetVersion, refuse_other_data
from cosmos.run.directory import RunDir, open_run, record_source
from cosmos.run.provenance import file_sha256


def read_dataset_version(params: Params, machine: Machine) -> DatasetVersion:
    """Return the version of the training data as it is prepared now; errors as of `Manifest.read`."""
    folder = machine.dataset(params.data.name, "train")
    manifest = Manifest.read(folder)
    return DatasetVersion(
        folder / MANIFEST_FILE,
        file_sha256(folder / MANIFEST_FILE),
        manifest.content_hash,
        manifest.num_samples,
        len(manifest.shards),
        manifest.source,
    )


def params_to_record(params: Params, machine: Machine) -> Params:
    """Return parameters as a run records them: `data` as its manifest has it, where it is prepared."""
    folder = machine.dataset(params.data.name, "train")
    if not exists(folder / MANIFEST_FILE):
        return params
    return with_source(params, Manifest.read(folder).source)


def open_run_on(dataset: DatasetVersion, path: Path, params: Params) -> RunDir:
    """Return the run directory at `path` for a pretraining with `params` on a dataset, made if need be.

    Its params.yaml says what the dataset was prepared from, whatever `params` say of that. Raises InputError
    where a run with other parameters, or on other data, is there, and DamagedDataError for a manifest whose
    record of the source is none. A batch larger than the dataset is an InputError before anything is written,
    so that the same run may have a smaller one.
    """
    refuse_other_data(RunDir(path), dataset)
    refuse_large_batch(params.pretrain.batch_size, dataset.num_samples)
    run = open_run(path, params)
    try:
        record_source(run, dataset.source)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(["source", *map(str, problem["loc"])])
        raise DamagedDataError(
            f"{dataset.manifest}: {key}: {problem['msg']}; delete the dataset and run `cosmos prepare` again"
        ) from None
    return run


def open_submitted_run(params: Params, machine: Machine, path: Path, dataset: DatasetVersion) -> RunDir:
    """Return the run directory of a pretraining that was submitted for a dataset.

    Raises as `open_run_on`, and InputError where the data has changed since.
    """
    read_dataset_version(params, machine).check_unchanged(dataset)
    return open_run_on(dataset, path, params)


ABOUT_DATA = (DamagedDataError, TransientError)
"""Classes of the errors that reading samples raises; their subclasses are about disks and ranks."""


@contextmanager
def telling_of_replaced_data(params: Params, machine: Machine, dataset: DatasetVersion) -> Iterator[None]:
    """Raise InputError, with both versions, for an error with samples whose dataset was replaced meanwhile.

    To a training that has begun, the shards of another dataset look damaged, or gone for a while.
    """
    try:
        yield
    except ABOUT_DATA as error:
        now = _other_version(params, machine, dataset) if type(error) in ABOUT_DATA else None
        if now is None:
            raise
        raise InputError(
            f"{now.manifest}: {dataset} when this began, {now} now; put the old data back, and the same"
            " command goes on, or name another run with --run, to train on the new data"
        ) from error


def _other_version(params: Params, machine: Machine, dataset: DatasetVersion) -> DatasetVersion | None:
    """Return the version of the training data that is there now; None for `dataset`, and where none is."""
    try:
        now = read_dataset_version(params, machine)
    except (CosmosError, OSError):
        return None
    return now if now.content != dataset.content else None
