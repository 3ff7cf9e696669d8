"""Stage pretrain of the pipeline: a resumed run, whose checkpoint and records are copied to DVC's folder."""

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.experiment import Experiment
from cosmos.config.identity import params_fingerprint
from cosmos.config.machine import Machine
from cosmos.config.printable_text import print_text
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.distributed.environment import is_first_process
from cosmos.errors import InputError
from cosmos.model.weight_archive import verify_checkpoint
from cosmos.pipeline.directory import CHECKPOINT_FILE
from cosmos.pipeline.identity import STAGE_CODE
from cosmos.run import provenance
from cosmos.run.code_state import installed_version
from cosmos.run.directory import RunDir
from cosmos.run.files import link_or_copy, replacing_folder, require_own_folder, write_text
from cosmos.run.model_card import CARD_FILE, ModelCard
from cosmos.stages.pretrain_job import launch_pretraining


def pipeline_run_name(experiment: Experiment, machine: Machine) -> str:
    """Return the name of the run of these parameters on the prepared data, with this code and its packages.

    It ends in a hash of all of these: where one of them has changed, DVC runs the stage, and the run that was
    made before, even a finished one, must not be resumed. Raises InputError if the data is not prepared.
    """
    manifest = machine.dataset(experiment.params.data.name, "train") / MANIFEST_FILE
    if not exists(manifest):
        raise InputError(f"{manifest}: no such file; `dvc repro prepare` makes it")
    parts = (
        params_fingerprint(experiment.params),
        provenance.file_sha256(manifest),
        STAGE_CODE["pretrain"].fingerprint(),
        *map(installed_version, provenance.PACKAGES[1:]),
    )
    return f"{experiment.name}-{sha256(' '.join(parts).encode()).hexdigest()[:8]}"


def run_pointer(output: Path) -> Path:
    """Return the path of the file, beside `output`, that names the run directory it is copied from."""
    return output.with_name(f"{output.name}.run")


def pretrain_into(
    output: Path, experiment: Experiment, machine: Machine, path: Path, quiet: bool
) -> dict[str, Any]:
    """Pretrain in the run directory `path`, and copy its checkpoint and records to `output`.

    Errors of `launch_pretraining` pass through, and leave `output` as it was. Raises InputError for an
    `output` with other files than these.
    """
    kept = {CHECKPOINT_FILE, CARD_FILE, *(file.name for file in kept_records(RunDir(path)))}
    require_own_folder(output, kept.__contains__)
    is_first = is_first_process()
    if is_first:
        write_text(run_pointer(output), f"{path}\n")
    ended = launch_pretraining(experiment, machine, path, quiet)
    if is_first:
        keep_outputs(RunDir(path), Path(ended["checkpoint"]), output, machine)
        if not quiet:
            print_text(f"output: {output}")
    return {**ended, "output": str(output)}


def keep_outputs(run: RunDir, checkpoint: Path, output: Path, machine: Machine) -> None:
    """Replace `output` by the checkpoint and the records of a finished run, and a card that names it.

    Raises DamagedDataError where the checkpoint has other bytes than were saved: the run may be an old one.
    """
    verify_checkpoint(checkpoint)
    name = os.path.relpath(run.path, machine.runs_root)
    card = ModelCard(name, checkpoint.name, provenance.file_sha256(checkpoint))
    with replacing_folder(output) as folder:
        link_or_copy(checkpoint, folder / CHECKPOINT_FILE)
        card.write(folder)
        for file in kept_records(run):
            shutil.copyfile(file, folder / file.name)


def kept_records(run: RunDir) -> tuple[Path, ...]:
    """Return the records of a run that are kept with its checkpoint."""
    return run.params, run.provenance, run.metrics
