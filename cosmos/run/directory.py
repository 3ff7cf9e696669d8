"""Paths inside a run directory.

runs/<name>/params.yaml, provenance.json, metrics.jsonl, timing.jsonl, log.txt, writer.json,
            checkpoints/step-00001234.pt, evaluations/, results/<suite>.json, embeddings/, galleries.json,
            job.json, jobs/, labels.json, trial.json, wandb.json, wandb/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists, find_paths, folders_with, is_dir
from cosmos.config.experiment import Experiment, load_recorded_params
from cosmos.config.identity import describe_changes, params_fingerprint
from cosmos.config.params import Params
from cosmos.config.prepared_data import with_source
from cosmos.config.settings_file import dump_settings
from cosmos.errors import InputError
from cosmos.run.files import file_label, hashed_label, holding_lock, write_text

EVALUATIONS_FOLDER = "evaluations"
"""Folder of runs_root for evaluations of several runs: the records of their jobs, and the jobs' files."""

CHECKPOINT_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,17})\.pt")
"""Pattern of the names of checkpoints: the step, in eight digits or more."""


@dataclass(frozen=True)
class RunDir:
    """Run directory: the path of each of its files."""

    path: Path

    @property
    def params(self) -> Path:
        """File of the resolved parameters."""
        return self.path / "params.yaml"

    @property
    def params_lock(self) -> Path:
        """File whose lock the process holds that writes the parameters, unless others are there."""
        return self.path / "params.lock"

    @property
    def provenance(self) -> Path:
        """File of the run's provenance: data, code, packages and hardware."""
        return self.path / "provenance.json"

    @property
    def data(self) -> Path:
        """Record of the data that the run is trained on: its samples, and shards that are left out."""
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        """File with a JSON line per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def timing(self) -> Path:
        """Trace of the steps: the time of each rank by part."""
        return self.path / "timing.jsonl"

    @property
    def log(self) -> Path:
        """Log of the command."""
        return self.path / "log.txt"

    @property
    def lease(self) -> Path:
        """File that names the process that writes into this run: the one that took it last."""
        return self.path / "writer.json"

    @property
    def lease_lock(self) -> Path:
        """File whose lock the process holds that takes the lease, or writes by it."""
        return self.path / "writer.lock"

    @property
    def job(self) -> Path:
        """Record of the job that the run was last submitted as."""
        return self.path / "job.json"

    @property
    def jobs(self) -> Path:
        """Folder of submissions: their scripts, logs and frozen code."""
        return self.path / "jobs"

    @property
    def labels(self) -> Path:
        """File of the run's labels: group, job type, tags."""
        return self.path / "labels.json"

    @property
    def trial(self) -> Path:
        """Record of the trial of a sweep that the run is."""
        return self.path / "trial.json"

    @property
    def wandb(self) -> Path:
        """File that names the run of Weights & Biases that mirrors this one, and how far it does."""
        return self.path / "wandb.json"

    @property
    def galleries(self) -> Path:
        """File of answers on single samples, with pictures, for Weights & Biases."""
        return self.path / "galleries.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Return the path of the checkpoint after `step` steps."""
        return self.checkpoints / f"step-{step:08d}.pt"

    @property
    def saved_checkpoints(self) -> list[Path]:
        """Paths of the checkpoints on disk, the newest first; [] without their folder.

        Raises OSError where the folder cannot be listed: a run must not seem to have none.
        """
        return [self.checkpoint(step) for step in reversed(_saved_steps(self.checkpoints))]

    @property
    def evaluations(self) -> Path:
        """Folder of the checkpoints that wait to be evaluated beside training, and of the job for that."""
        return self.path / "evaluations"

    @property
    def evaluation_job(self) -> Path:
        """Record of the job that evaluates a checkpoint beside training: the first of those that wait."""
        return self.evaluations / "submission.json"

    @property
    def evaluation_jobs(self) -> list[Path]:
        """Records of the jobs that evaluate checkpoints: those of suites, and the one beside training.

        Raises as `find_paths`.
        """
        return [
            *find_paths(self.jobs, "evaluate-*.json"),
            *find_paths(self.path, "evaluations/submission.json"),
        ]

    @property
    def unevaluated_checkpoints(self) -> list[Path]:
        """Paths of the checkpoints that wait to be evaluated beside training, the oldest first."""
        return [self.evaluations / self.checkpoint(step).name for step in _saved_steps(self.evaluations)]

    @property
    def embeddings(self) -> Path:
        """Folder of cached embeddings, which can be computed again."""
        return self.path / "embeddings"

    @property
    def result_files(self) -> list[Path]:
        """Paths of the results files on disk. Raises as `find_paths`."""
        return find_paths(self.path / "results", "*.json")

    @property
    def image_value_files(self) -> list[Path]:
        """Paths of the files that have the values of images beside results. Raises as `find_paths`."""
        return find_paths(self.path / "results", "*.npz")

    @property
    def results_lock(self) -> Path:
        """File whose lock the process holds that writes results."""
        return self.path / "results.lock"

    def result_file(self, suite: str, checkpoint: str = "") -> Path:
        """Return the path of a suite's results: of the run's newest checkpoint, or of `checkpoint`."""
        own = not checkpoint or self.path.name in (file_label(checkpoint), hashed_label(checkpoint))
        return self.path / "results" / f"{suite if own else f'{suite}-{file_label(checkpoint)}'}.json"


def step_of_checkpoint(path: Path) -> int:
    """Return the number of steps after which a checkpoint was saved, by its name."""
    named = CHECKPOINT_NAME.fullmatch(path.name)
    assert named
    return int(named[1])


def _saved_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, in their order; [] without the folder."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(step[1]) for step in map(CHECKPOINT_NAME.fullmatch, names) if step)


def job_records(runs_root: Path) -> list[Path]:
    """Return the files of the records of jobs: of runs, and of runs that lie together in a folder.

    Raises as `folders_with`.
    """
    groups = [runs_root, *folders_with(runs_root, "*/job.json")]
    return [folder / "job.json" for group in groups for folder in folders_with(group, "job.json")]


MAX_NAME_BYTES = 255
"""Bytes that file systems allow a name to have."""


def run_path(runs_root: Path, name: str, option: str) -> Path:
    """Return the path of the run or sweep that is called `name`: a folder of `runs_root`, or of one in it.

    Raises InputError, naming the `option` that gave the name, for one that leads anywhere else, and for one
    that is no name of a folder. Links in the folder of runs are their owner's: runs may lie on other disks.
    """
    path = runs_root / name
    if problem := name_problem(name) or place_problem(path, runs_root):
        raise InputError(
            f"{option}: {name!r} {problem}; give a name such as vitb16-cc3m, for a folder in {runs_root} "
            "(COSMOS_RUNS_ROOT sets another place for all runs)"
        )
    return path


def name_problem(name: str) -> str:
    """Return what keeps `name` from being the name of a run, as a part of a sentence; "" for nothing."""
    if not name.strip():
        return "is no name"
    if name.startswith("/") or {".", ".."} & set(name.split("/")):
        return "is a path, not the name of a run"
    if any(part.startswith(".") for part in name.split("/")):
        return "begins with a dot, and lists leave hidden folders out"
    if name.startswith("-"):
        return "begins with a dash, and commands take it for an option"
    if not name.isprintable():
        return "has characters that cannot be printed"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return ""


def place_problem(path: Path, runs_root: Path) -> str:
    """Return what keeps `path` from being a run in `runs_root`, as a part of a sentence; "" for nothing."""
    if exists(path) and not is_dir(path):
        return "is a file"
    around = path.parents[: len(path.relative_to(runs_root).parts) - 1]
    return "lies inside another run" if any(exists(RunDir(folder).params) for folder in around) else ""


def run_name(experiment: Experiment) -> str:
    """Return the default name of a run: its experiment and the fingerprint of its parameters."""
    return f"{experiment.name}-{params_fingerprint(experiment.params)}"


def open_run(path: Path, params: Params) -> RunDir:
    """Return the run directory at `path` for a pretraining with `params`, made if need be.

    Raises InputError, naming the keys that differ, where a run with other parameters is there. What its
    dataset was prepared from is none of these: `record_source` writes that, and it stays as written.
    """
    run = RunDir(path)
    with holding_lock(run.params_lock):  # of two that begin at once, the second one finds the first one's
        write_params(run, refuse_other_params(run, params))
    return run


def refuse_other_params(run: RunDir, params: Params) -> Params:
    """Return parameters, with what the dataset of the run that is there was prepared from.

    Raises InputError, naming the keys that differ, where a run with other parameters is there.
    """
    if not exists(run.params):
        return params
    old = load_saved_params(run)
    params = with_source(params, old.data.model_dump())
    if params_fingerprint(old) != params_fingerprint(params):
        changes = "\n  ".join(d for d in describe_changes(old, params) if not d.startswith("evaluate."))
        raise InputError(
            f"{run.path} holds a run with other parameters:\n  {changes}\n"
            "name another run with --run, or delete the directory to start afresh"
        )
    return params


def record_source(run: RunDir, source: Mapping[str, Any]) -> None:
    """Write into a run's parameters what its dataset was prepared from, as the dataset's manifest says."""
    params = load_saved_params(run)
    prepared = with_source(params, source)
    if prepared != params:
        write_params(run, prepared)


def write_params(run: RunDir, params: Params) -> None:
    """Write the parameters of a run."""
    write_text(run.params, dump_settings(params.model_dump(mode="json")))


def load_saved_params(run: RunDir) -> Params:
    """Return the parameters that a run was started with. Raises InputError where params.yaml is wrong."""
    return load_recorded_params(run.params)
