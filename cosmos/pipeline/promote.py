"""Promotion of models: a run's last checkpoint becomes an artefact that DVC versions, with its records.

models/<name>/model.pt, params.yaml, metrics.json, metrics.jsonl, provenance.json, results/, card.json,
               README.md, and labels.json and trial.json of a run that has them
              open_clip/   the teacher as `cosmos export` writes it
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from cosmos.config.disk_reading import exists, is_file
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.figures import TRAINING_DATA
from cosmos.config.identity import describe_changes, short_hash
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.params import Params
from cosmos.config.printable_text import cosmos_command, print_text, printable
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.model.weight_archive import verify_checkpoint
from cosmos.pipeline.report import data_versions, escape_dots, figures_by_model
from cosmos.registry.index import run_names
from cosmos.report.curves import final_figures, training_lines
from cosmos.run import dvc_versions, provenance
from cosmos.run.dataset_version import RecordedVersion
from cosmos.run.directory import RunDir, load_saved_params, run_path
from cosmos.run.files import link_or_copy, remove_folder, replacing_folder, write_json, write_text
from cosmos.run.metrics import last_line_with, read_metrics
from cosmos.run.model_card import CARD_FILE, ModelCard
from cosmos.run.provenance_record import read_provenance
from cosmos.run.results import ResultEntry, Results
from cosmos.run.sole_writer import sole_writer
from cosmos.stages.evaluation_result import checkpoint_results, copy_evidence, entries_markdown
from cosmos.stages.export import ExportSource, Publication, write_export
from cosmos.stages.hub_card import UNKNOWN_LICENCE
from cosmos.stages.report_facts import describe_code

MODELS = "models"
"""Folder of artefacts, at the root of the DVC workspace."""
MODEL_FILE = "model.pt"

OPEN_CLIP_FOLDER = "open_clip"
"""Folder of an artefact with the exported teacher, which `cosmos export` would write the same."""

ARTEFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Artefact:
    """Place of a promoted model in a DVC workspace."""

    root: Path
    """root of the DVC workspace"""
    name: str

    @property
    def folder(self) -> Path:
        """Folder that DVC keeps."""
        return self.root / MODELS / self.name

    @property
    def record(self) -> Path:
        """File that records DVC's version of the folder, for git."""
        return self.root / MODELS / f"{self.name}.dvc"

    @property
    def writer(self) -> Path:
        """File that the process holds which promotes a model to this place; others wait."""
        return self.folder.with_name(f".{self.name}.promoting")

    @property
    def listed(self) -> str:
        """Path of the folder from the root of the workspace."""
        return f"{MODELS}/{self.name}"


def promote(
    run_name: str, name: str, machine: Machine, quiet: bool, licence: str = UNKNOWN_LICENCE
) -> dict[str, Any]:
    """Copy the last checkpoint of a finished run, with its records, below models/, and `dvc add` it.

    `name`: of the artefact; "" for the run's. `licence`: for the card of the exported model in it. The same
    run again changes nothing, or adds what was measured since. Waits while another process promotes to the
    name. Raises InputError if the run is not finished, the name is another model's, or there is no DVC
    workspace in git; then nothing is left behind.
    """
    publication = Publication(licence=licence)
    publication.check()
    run = RunDir(run_path(machine.runs_root, run_name, "RUN"))
    checkpoint = last_checkpoint(run, run_name)
    artefact = Artefact(dvc_workspace(), artefact_name(name or run_name.strip("/").replace("/", "-")))
    card = ModelCard(run_name.strip("/"), checkpoint.name, provenance.file_sha256(checkpoint))
    with sole_writer(artefact.writer, f"{artefact.folder}: a model is being promoted"):
        refuse_another(artefact, card)
        write_artefact(artefact, run, checkpoint, card, publication)
        promoted = describe_promoted(artefact, card)
    if not quiet:
        print_promoted(artefact, promoted)
    return promoted


def write_artefact(
    artefact: Artefact, run: RunDir, checkpoint: Path, card: ModelCard, publication: Publication
) -> None:
    """Write an artefact, and have DVC keep it; where that fails, a new one is removed."""
    is_new = not exists(artefact.folder)
    with replacing_folder(artefact.folder) as folder:
        fill_artefact(folder, run, checkpoint, card)
        (folder / OPEN_CLIP_FOLDER).mkdir()
        source = ExportSource.of_run(run, checkpoint, card.run)
        write_export(folder / OPEN_CLIP_FOLDER, source, publication)
    try:
        dvc_add(artefact)
    except BaseException:
        if is_new:
            artefact.record.unlink(missing_ok=True)  # DVC may have ended, and a signal come, before we knew
            remove_folder(artefact.folder)
        raise


def last_checkpoint(run: RunDir, name: str) -> Path:
    """Return the checkpoint that a run ended with, which is read for its checksums.

    Raises InputError if the run is not finished or has none, DamagedDataError for one with other bytes.
    """
    if not is_file(run.params):
        near = near_names(name, run_names(run.path.parent), "`cosmos runs list` lists those that there are")
        raise InputError(f"{run.path}: no run; {near}")
    line, epochs = last_line_with("loss", run.metrics), load_saved_params(run).pretrain.epochs
    epoch = line.get("epoch") or 0.0
    if epoch < epochs:
        done = f"{epoch:.4g} of {epochs} epochs" if line else "no step"
        raise InputError(
            f"{name}: has trained {done}; a run is promoted when it has finished: "
            f"`{cosmos_command('pretrain', '--run', name)}` with its parameters goes on"
        )
    checkpoint = run.checkpoint(line["step"])
    if not is_file(checkpoint):
        raise InputError(f"{checkpoint}: no such file, which the run ended with; train it again to have it")
    verify_checkpoint(checkpoint)
    return checkpoint


def dvc_workspace() -> Path:
    """Return the root of the DVC workspace of this folder. Raises InputError if there is none, or no git."""
    root = dvc_versions.find_dvc_root(Path.cwd())
    if root is None:
        raise InputError(f"{Path.cwd()}: no DVC workspace; promote from the root of the project")
    if shutil.which("git") is None:
        raise InputError("git is not installed, which keeps the record of what is promoted")
    command = ["git", "-C", str(root), "rev-parse", "--is-inside-work-tree"]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if "dubious ownership" in answer.stderr:
        trust = f"git config --global --add safe.directory {shlex.quote(str(root))}"
        raise InputError(f"{root}: git does not work in a folder of another user; `{trust}` has it do so")
    if answer.returncode:
        raise InputError(
            f"{root}: not in git, which keeps the record of what is promoted; `git init` makes it so"
        )
    return root


def artefact_name(name: str) -> str:
    """Return `name`. Raises InputError if it does not fit a folder."""
    if not ARTEFACT_NAME.fullmatch(name):
        raise InputError(f"--name: {name!r} is not letters, digits, '.', '_' and '-' alone")
    return name


def refuse_another(artefact: Artefact, card: ModelCard) -> None:
    """Raise InputError if another model or folder has the name, or if its model is not here to compare."""
    another = f"take another name with --name, or first `dvc remove {artefact.listed}.dvc --outs`"
    if not exists(artefact.folder):
        if exists(artefact.record):
            raise InputError(
                f"{artefact.record}: its model is not here, so that it may be another; "
                f"`dvc pull {artefact.listed}` brings it, or {another}"
            )
        return
    promoted = ModelCard.read(artefact.folder)
    if promoted is None:
        raise InputError(f"{artefact.folder}: is there, and no promoted model; take another --name")
    if promoted.sha256 != card.sha256:
        raise InputError(f"{artefact.folder}: holds another model, of the run {promoted.run}; {another}")


def fill_artefact(folder: Path, run: RunDir, checkpoint: Path, card: ModelCard) -> None:
    """Copy a run's checkpoint, records and results into an empty folder, always the same bytes."""
    link_or_copy(checkpoint, folder / MODEL_FILE)
    for file in (run.params, run.provenance, run.metrics, run.labels, run.trial):
        if is_file(file):
            shutil.copyfile(file, folder / file.name)
    measured = checkpoint_results([run], card.sha256)
    kept = RunDir(folder)
    for suite, entries in measured.items():
        for entry in entries.values():
            Results(kept.result_file(suite), suite).put(entry["dataset"], entry)
            copy_evidence(run.result_file(suite), kept.result_file(suite), entry)
    write_json(folder / "metrics.json", metrics_summary(run, measured))
    card.write(folder)
    write_text(folder / "README.md", model_readme(run, measured, card))


def metrics_summary(run: RunDir, measured: Mapping[str, Mapping[str, ResultEntry]]) -> dict[str, Any]:
    """Return metrics.json in the form of a pipeline's: last values of training, and overall results."""
    try:
        ended = final_figures(training_lines(read_metrics(run.metrics)))
    except DamagedDataError as error:
        raise DamagedDataError(f"{run.metrics}: {error}; train the run again to promote it") from None
    return {
        "pretrain": ended,
        **{
            suite: {escape_dots(dataset): figures_by_model(entry) for dataset, entry in entries.items()}
            for suite, entries in measured.items()
        },
        "data": {
            TRAINING_DATA: short_hash(RecordedVersion.of(run).sha256),
            **{suite: data_versions(entries) for suite, entries in measured.items()},
        },
    }


def model_readme(run: RunDir, measured: Mapping[str, Mapping[str, ResultEntry]], card: ModelCard) -> str:
    """Return README.md of a model: its run, data and code, its parameters, its results."""
    changed = [printable(line) for line in describe_changes(Params(), load_saved_params(run))]
    tables = [entries_markdown(suite, entries) for suite, entries in measured.items()]
    return (
        "\n\n".join(
            [
                "# A COSMOS model",
                "\n".join(["    " + printable(line) for line in provenance_lines(run, card)]),
                "Parameters that differ from the defaults:",
                "\n".join("    " + line for line in changed) or "    none",
                "Results:" if tables else "Nothing was measured of it when it was promoted.",
                *tables,
            ]
        ).rstrip()
        + "\n"
    )


def provenance_lines(run: RunDir, card: ModelCard) -> list[str]:
    """Return the run, checkpoint, code and data that a model comes from, a line each."""
    lines = [f"run: {card.run}", f"checkpoint: {card.checkpoint}", f"sha256: {card.sha256}"]
    if not is_file(run.provenance):
        return lines
    recorded = read_provenance(run.provenance, "delete it, and promote again")
    data = [f"data, {name}: sha256 {sha256}" for name, sha256 in recorded.data.items()]
    code = dict.fromkeys(f"code: {describe_code(session)}" for session in recorded.sessions)
    return [*lines, *code, *data]


def dvc_add(artefact: Artefact) -> None:
    """Run `dvc add` on an artefact. Raises CosmosError with DVC's message if that fails.

    It is a TransientError where a disk, the network or a lock was the reason, an InputError for a place that
    this user cannot write.
    """
    command = [sys.executable, "-m", "cosmos.run.dvc_command", "add", artefact.listed]
    done = subprocess.run(
        command, cwd=artefact.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = "\n  ".join(errors) or done.stderr.strip()
        if "database or disk is full" in reason:  # SQLite's, which names no file
            reason += f"; DVC's database is below {dvc_versions.database_root()}"
        kinds = {kind.exit_status: kind for kind in (TransientError, InputError)}
        message = f"`dvc add {artefact.listed}` failed:\n  {reason}\nmend that, and promote again"
        raise kinds.get(done.returncode, CosmosError)(message)


def describe_promoted(artefact: Artefact, card: ModelCard) -> dict[str, Any]:
    """Return the card, folder, DVC version and suites of a promoted model, by key."""
    version = dvc_versions.recorded_versions(artefact.folder / CARD_FILE).get(artefact.listed, "")
    measured = json.loads((artefact.folder / "metrics.json").read_text(encoding="utf-8"))
    suites = [name for name in measured if name in get_args(SuiteName)]
    return {**asdict(card), "artefact": artefact.listed, "version": version, "suites": suites}


def print_promoted(artefact: Artefact, promoted: Mapping[str, Any]) -> None:
    """Print where the promoted model is, and the commands that keep it."""
    print_text(f"{artefact.folder}: the model of {promoted['run']}, version {promoted['version']}")
    if not promoted["suites"]:
        command = cosmos_command("evaluate", "--run", promoted["run"])
        print_text(f"not measured yet: `{command}`, and promote again")
    print_text(
        f"to keep it, in {artefact.root}:\n"
        f"  git add {artefact.listed}.dvc {MODELS}/.gitignore && git commit -m 'Promote {artefact.name}'\n"
        "  dvc push"
    )
