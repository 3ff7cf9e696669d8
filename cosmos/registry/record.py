"""Runs as records: what a run directory says of its run.

Nothing is asked of a scheduler, so that a list is quick and the same on every machine. A damaged file spoils
its own part of one record, which then says so.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from cosmos.config.identity import flatten_sections
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import ALIVE_SECONDS
from cosmos.run.metrics import last_lines_with
from cosmos.run.results import read_result_figures

Status = Literal["finished", "running", "stopped", "failed", "pruned", "waiting"]
Scalar = str | int | float | bool | None
T = TypeVar("T")

PARAMS = RunDir(Path()).params.name

SCHEDULES = ("learning_rate", "momentum")
"""What a training line says of schedules: the parameters of these names are what people ask for."""


@dataclass(frozen=True)
class RunRecord:
    """A run in one row."""

    name: str
    """as `--run` takes it"""
    seconds_silent: float = math.inf
    """since the heartbeat of the process that trains it; inf: none was ever felt"""
    at_rest: Status = "stopped"
    """how it stands, unless a process trains it"""
    started: str = ""
    """UTC, ISO"""
    group: str = ""
    job_type: str = "pretrain"
    tags: tuple[str, ...] = ()
    trial: int | None = None
    """number of the trial that it is in its sweep"""
    trial_seed: int | None = None
    """0: the first; repetitions count from 1"""
    commit: str = ""
    job: str = ""
    """id of its newest job"""
    problem: str = ""
    """what of it cannot be read"""
    params: Mapping[str, Scalar] = field(default_factory=dict)
    """by path: pretrain.momentum"""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """the last training line's, evaluation/..., and <suite>/<dataset>/<model>/<metric>; all finite"""

    @property
    def is_over(self) -> bool:
        """Whether no process trains it any more, whatever its heartbeat."""
        return self.at_rest in ("finished", "pruned")

    @property
    def is_alive(self) -> bool:
        """Whether a process trains it."""
        return not self.is_over and self.seconds_silent < ALIVE_SECONDS

    @property
    def status(self) -> Status:
        """How it stands."""
        return "running" if self.is_alive else self.at_rest

    def silent(self, seconds: float) -> "RunRecord":
        """The same run, so many seconds after its last heartbeat."""
        return RunRecord(**{**vars(self), "seconds_silent": seconds})


def is_run(path: str | Path) -> bool:
    """Whether a folder is the directory of a run, rather than one of a sweep or of evaluations."""
    return os.path.isfile(f"{path}/{PARAMS}")  # noqa: PTH113 - false, too, where one may not look


def run_named(name: str, runs_root: Path) -> RunDir | None:
    """The run that a person means: one of the folder of runs, or a path; None where there is none."""
    return next((RunDir(path) for path in (runs_root / name, Path(name)) if is_run(path)), None)


def read_record(run: RunDir, name: str) -> RunRecord:
    """The record of a run, from its files as they are now."""
    reading = Reading()
    params: dict[str, Scalar] = reading.of(lambda: read_params(run), {})
    newest = reading.of(lambda: read_newest(run), Newest())
    results: dict[str, float] = reading.of(lambda: read_results(run), {})
    labels = reading.of(lambda: read_labels(run), RunLabels())
    trial = reading.of(lambda: read_trial(run), Trial())
    job = reading.of(lambda: read_job(run), Job())
    sessions = reading.of(lambda: read_sessions(run), Sessions())
    return RunRecord(
        name,
        seconds_silent(run.lease),
        reading.of(lambda: at_rest(run, trial, job, params, newest.training), "stopped"),
        sessions.started,
        labels.group,
        labels.job_type,
        labels.tags,
        trial.number,
        trial.seed,
        sessions.commit,
        job.job_id,
        "; ".join(reading.problems),
        params,
        {**trial.values, **newest.shown(), **results},
    )


class Reading:
    """Reads files of a run, each of which may be missing or damaged."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def of(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` returns; `otherwise` where its file is missing or, as is then noted, damaged."""
        try:
            return read()
        except FileNotFoundError:
            return otherwise
        except Exception as error:  # there is no end to what a damaged file can do to its reader
            self.problems.append(" ".join(str(error).split()) or type(error).__name__)
            return otherwise


def seconds_silent(lease: str | Path) -> float:
    """Seconds since the heartbeat of the process that holds a lease; inf where there never was one."""
    try:
        return max(0.0, time.time() - os.stat(lease).st_mtime)  # noqa: PTH116 - half the time of pathlib's
    except OSError:
        return math.inf


def read_params(run: RunDir) -> dict[str, Scalar]:
    """Parameters by path, as they were written: not validated, so that runs of older code are read too."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        values = yaml.load(run.params.read_text(encoding="utf-8"), loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{run.params}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{run.params}: expected sections such as `pretrain:`")
    return scalars(values)


def scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Nested sections by path; a list in words."""
    return {path: scalar(value) for path, value in flatten_sections(values).items()}


def scalar(value: object) -> Scalar:
    """A value that can be compared, shown and kept: a list is its items, separated by commas."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def finite(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers among values."""
    return {
        f"{prefix}{key}": float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


@dataclass(frozen=True)
class Newest:
    """What the metrics of a run end with."""

    training: Mapping[str, float] = field(default_factory=dict)
    """the last line of training"""
    evaluation: Mapping[str, float] = field(default_factory=dict)
    """the last evaluation while training"""

    def shown(self) -> dict[str, float]:
        """Both, as metrics of a record."""
        return {
            **{key: value for key, value in self.training.items() if key not in SCHEDULES},
            **self.evaluation,
        }


def read_newest(run: RunDir) -> Newest:
    """What the metrics of a run end with."""
    last = last_lines_with(("loss", "evaluation"), run.metrics)
    evaluation = last.get("evaluation", {}).get("evaluation", {})
    return Newest(finite(last.get("loss", {})), finite(evaluation, "evaluation/"))


def read_labels(run: RunDir) -> RunLabels:
    """The labels of a run, every one a text, whatever wrote them."""
    labels = RunLabels.of(run)
    return replace(labels, group=str(labels.group), tags=tuple(map(str, labels.tags)))


def read_results(run: RunDir) -> dict[str, float]:
    """Overall figures of all that was measured, as <suite>/<dataset>/<model>/<metric>."""
    return finite(
        {name: value for file in run.result_files for name, value in read_result_figures(file).items()}
    )


@dataclass(frozen=True)
class Trial:
    """What trial.json says of a run."""

    number: int | None = None
    seed: int | None = None
    state: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    """objectives, of a finished trial"""


def read_trial(run: RunDir) -> Trial:
    """Which trial a run is. ValueError where its file is damaged."""
    try:
        said = json.loads(run.trial.read_text(encoding="utf-8"))
        values = finite(said["values"]) if said["state"] == "finished" else {}
        return Trial(int(said["number"]), int(said["seed"]), str(said["state"]), values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{run.trial}: not the record of a trial ({error!r})") from None


@dataclass(frozen=True)
class Job:
    """How a run's newest job stands, as far as its folder tells."""

    job_id: str = ""
    waits: bool = False
    failed: bool = False


def read_job(run: RunDir) -> Job:
    """The newest job of a run. ValueError where its record or a failure's is damaged."""
    if not run.job.exists():
        return Job()
    from cosmos.launch.outcome import CallFiles  # late: a list of runs that have not changed does without
    from cosmos.launch.submission import read_submission

    submission = read_submission(run.job)
    if submission is None:
        return Job()
    call = CallFiles(run.jobs / submission.token, 0)
    if not call.folder.is_dir():
        return Job(submission.job_id)
    is_over = call.has_value()
    return Job(
        submission.job_id,
        waits=not is_over and not call.attempts(),
        failed=not is_over and call.first_failure() is not None,
    )


@dataclass(frozen=True)
class Sessions:
    """What provenance.json says of a run's processes."""

    started: str = ""
    """the first one, in UTC"""
    commit: str = ""
    """of the last one"""


def read_sessions(run: RunDir) -> Sessions:
    """When a run started, and the code that last trained it. ValueError where the file is damaged."""
    try:
        sessions = json.loads(run.provenance.read_text(encoding="utf-8"))["sessions"]
        return Sessions(str(sessions[0]["started"]), str(sessions[-1]["commit"])) if sessions else Sessions()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run.provenance}: not a file of provenance ({error!r})") from None


def at_rest(
    run: RunDir, trial: Trial, job: Job, params: Mapping[str, Scalar], training: Mapping[str, float]
) -> Status:
    """How a run stands while nothing trains it."""
    if trial.state == "pruned":
        return "pruned"
    if trial.state == "finished" or is_trained(run, params, training):
        return "finished"
    if trial.state == "failed" or job.failed:
        return "failed"
    return "waiting" if job.waits else "stopped"


def is_trained(run: RunDir, params: Mapping[str, Scalar], training: Mapping[str, float]) -> bool:
    """Whether the checkpoint of the last step is there."""
    epochs, epoch = params.get("pretrain.epochs"), training.get("epoch", 0.0)
    if not epoch or not isinstance(epochs, int | float):
        return False
    return run.checkpoint(round(training["step"] / epoch * epochs)).exists()
