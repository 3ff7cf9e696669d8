"""The one owner of paths inside a run directory.

runs/<name>/params.yaml, provenance.json, metrics.jsonl, log.txt, writer.json,
            checkpoints/{step-00001234.pt, latest}, results/<suite>.json, embeddings/,
            job.json, jobs/, labels.json, trial.json, wandb.json, wandb/
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from cosmos.config.experiment import Experiment, load_recorded_params
from cosmos.config.identity import describe_changes, params_fingerprint
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.run.files import write_text


@dataclass(frozen=True)
class RunDir:
    """A run directory: where each of its files lies."""

    path: Path

    @property
    def params(self) -> Path:
        """The resolved parameters."""
        return self.path / "params.yaml"

    @property
    def provenance(self) -> Path:
        """What the run was made from and on."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """One JSON line per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the command said."""
        return self.path / "log.txt"

    @property
    def lease(self) -> Path:
        """Which process writes into this run: the one that took it last."""
        return self.path / "writer.json"

    @property
    def job(self) -> Path:
        """The job that the run was last submitted as."""
        return self.path / "job.json"

    @property
    def jobs(self) -> Path:
        """Folder of submissions: their scripts, logs and frozen code."""
        return self.path / "jobs"

    @property
    def labels(self) -> Path:
        """What the run belongs to: group, job type, tags."""
        return self.path / "labels.json"

    @property
    def trial(self) -> Path:
        """Which trial of a sweep the run is, and how that stands."""
        return self.path / "trial.json"

    @property
    def wandb(self) -> Path:
        """Which run of Weights & Biases shows this one, and how far it is shown there."""
        return self.path / "wandb.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def latest(self) -> Path:
        """The pointer: a text file that holds the name of the newest whole checkpoint."""
        return self.checkpoints / "latest"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint of the state after `step` steps."""
        return self.checkpoints / f"step-{step:08d}.pt"

    @property
    def saved_checkpoints(self) -> list[Path]:
        """The checkpoints that there are, the newest first."""
        return sorted(self.checkpoints.glob("step-*.pt"), reverse=True)

    @property
    def embeddings(self) -> Path:
        """Folder of cached embeddings, which can be computed again."""
        return self.path / "embeddings"

    @property
    def result_files(self) -> list[Path]:
        """The files of results that there are."""
        return sorted((self.path / "results").glob("*.json"))

    def result_file(self, suite: str, checkpoint: str = "") -> Path:
        """The results of an evaluation suite: of the run's newest checkpoint, or of the one that is named."""
        own = not checkpoint or checkpoint_label(checkpoint) == self.path.name
        return self.path / "results" / f"{suite if own else f'{suite}-{checkpoint_label(checkpoint)}'}.json"


def run_name(experiment: Experiment) -> str:
    """The default name of a run: its experiment and the fingerprint of its parameters."""
    return f"{experiment.name}-{params_fingerprint(experiment.params)}"


def checkpoint_label(checkpoint: str) -> str:
    """A checkpoint's name, fit for a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in checkpoint.strip("/"))[-80:].strip("-.")


def open_run(path: Path, params: Params) -> RunDir:
    """The run directory at `path` for a pretraining with `params`, made if need be.

    Raises ValueError where another pretraining lives there, naming the keys that differ.
    """
    run = RunDir(path)
    if run.params.exists():
        old = load_saved_params(run)
        if params_fingerprint(old) != params_fingerprint(params):
            changes = "\n  ".join(d for d in describe_changes(old, params) if not d.startswith("evaluate."))
            raise InputError(
                f"{path} holds a run with other parameters:\n  {changes}\n"
                "name another run with --run, or delete the directory to start afresh"
            )
    write_text(run.params, yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))
    return run


def load_saved_params(run: RunDir) -> Params:
    """The parameters that a run was started with."""
    return load_recorded_params(run.params)
