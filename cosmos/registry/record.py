"""Records of runs, read from their directories: status, labels, parameters, metrics, results.

No scheduler is asked, so that a list is quick and the same on every machine. A damaged file affects only its
own part of one record, whose `problem` then names it.
"""

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from cosmos.config.disk_reading import exists, is_dir, is_file, open_regular
from cosmos.config.evaluate_params import PREPARED_SPLITS
from cosmos.config.figures import TRAINING_DATA, data_of_figure
from cosmos.config.identity import flatten_sections, short_hash, with_first_defaults
from cosmos.config.settings_file import MAX_BYTES, parse_flat, read_mapping
from cosmos.errors import StoppedError, class_of_kind
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import ALIVE_SECONDS, seconds_silent
from cosmos.run.metrics import last_lines_with
from cosmos.run.provenance_record import Provenance, read_provenance
from cosmos.run.records import TolerantReader, read_record
from cosmos.run.results import Results

RunStatus = Literal["finished", "running", "starting", "stopped", "failed", "pruned", "paused", "waiting"]
STARTING_SECONDS = 900.0
"""Time that a job may take until it trains: it imports packages, looks at the data, and waits for a disk."""

RecordValue = str | int | float | bool | None
"""Value of a parameter in a record."""

DATASET_PREFIX = "dataset."
"""Beginning of the keys of what is recorded of the data that a run was trained on."""

TRAINING_DATA_KEY = f"{DATASET_PREFIX}manifest"
"""Key of the hash of the data that a run was trained on."""

Value = TypeVar("Value")

PARAMS_FILE = RunDir(Path()).params.name
PROVENANCE_FILE = RunDir(Path()).provenance.name
JOB_FILE = RunDir(Path()).job.name

SCHEDULE_METRICS = ("learning_rate", "momentum")
"""Metrics of schedules, left out of records since people mean the parameters of these names."""


@dataclass(frozen=True)
class RunRecord:
    """Record of a run, as its directory was when it was read."""

    name: str
    """name that the option --run takes: the path from the folder of runs"""
    seconds_silent: float = math.inf
    """seconds since the last heartbeat of the process that trains it; inf: there was none"""
    resting_status: RunStatus = "stopped"
    """status of the run while no process trains it"""
    started: str = ""
    """time of the first start, in UTC and ISO format"""
    group: str = ""
    job_type: str = "pretrain"
    tags: tuple[str, ...] = ()
    trial: int | None = None
    """number of its trial in the sweep; None: no trial"""
    trial_seed: int | None = None
    """0 of the trial itself, from 1 on of its repetitions"""
    commit: str = ""
    job: str = ""
    """id of the newest job"""
    problem: str = ""
    """errors of files that could not be read"""
    params: Mapping[str, RecordValue] = field(default_factory=dict)
    """parameters by path, such as pretrain.momentum"""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """finite values of the last training line, evaluation/..., and <suite>/<dataset>/<model>/<metric>"""
    dataset: Mapping[str, RecordValue] = field(default_factory=dict)
    """hash of the manifest and size of the training data, by dataset.manifest and the like"""
    data: Mapping[str, str] = field(default_factory=dict)
    """hashes of the data that results are of, by <suite>/<dataset>, and of that measured while training"""
    breaches: tuple[str, ...] = ()
    """constraints of its sweep that a trial breaks, in words"""
    job_started: float = 0.0
    """time at which the newest job began, in seconds since the epoch; 0: none, or it has come to training"""

    @property
    def is_over(self) -> bool:
        """True when no process trains it any more, whatever its heartbeat."""
        return self.resting_status in ("finished", "pruned", "paused")

    @property
    def is_alive(self) -> bool:
        """True when a process trains it."""
        return not self.is_over and self.seconds_silent < ALIVE_SECONDS

    @property
    def is_starting(self) -> bool:
        """True when its job has begun, a while ago at most, and does not train yet."""
        return self.resting_status == "stopped" and time.time() - self.job_started < STARTING_SECONDS

    @property
    def status(self) -> RunStatus:
        """Status of the run: running while a process trains it."""
        if self.is_alive:
            return "running"
        return "starting" if self.is_starting else self.resting_status

    def data_hash(self, figure: str) -> str:
        """Return the hash of the data that a figure is of; "" for no data, and where it is not recorded."""
        name = data_of_figure(figure)
        return (
            str(self.dataset.get(TRAINING_DATA_KEY, "")) if name == TRAINING_DATA else self.data.get(name, "")
        )

    def with_silence(self, seconds: float) -> "RunRecord":
        """Return the record with this number of seconds since the last heartbeat."""
        return RunRecord(**{**vars(self), "seconds_silent": seconds})


def is_run_directory(path: str | Path) -> bool:
    """Return True for the directory of a run, rather than one of a sweep or of evaluations.

    A run that lost its parameters is one by its provenance or its job. A folder that this user may not enter
    is none; raises OSError where the disk fails.
    """
    names = (PARAMS_FILE, PROVENANCE_FILE, JOB_FILE)
    with suppress(PermissionError):
        return any(is_file(f"{path}/{name}") for name in names)
    return False


def find_run_dir(name: str, runs_root: Path) -> RunDir | None:
    """Return the run of a name in the folder of runs, or of a path; None where there is none."""
    return next((RunDir(path) for path in (runs_root / name, Path(name)) if is_run_directory(path)), None)


def read_run_record(run: RunDir, name: str) -> RunRecord:
    """Return the record of a run, from its files as they are now; files that are missing are left out."""
    reader = TolerantReader()
    params: dict[str, RecordValue] = reader.read(run.params, lambda: read_param_values(run), {})
    if not reader.problems and not exists(run.params):
        reader.problems.append(f"{run.params}: missing; put it back")
    newest = reader.read(run.metrics, lambda: read_newest_metrics(run), NewestMetrics())
    reader.problems += [newest.damage] if newest.damage else []
    files: list[Path] = reader.read(run.path, lambda: run.result_files, [])
    results = [reader.read(file, partial(read_result_summary, file), ResultSummary()) for file in files]
    labels = reader.read(run.labels, lambda: RunLabels.of(run), RunLabels())
    trial = reader.read(run.trial, lambda: read_trial_summary(run), NO_TRIAL)
    job = reader.read(run.job, lambda: read_job_summary(run), JobSummary())
    sessions = reader.read(run.provenance, lambda: read_session_summary(run), SessionSummary())
    at_rest = partial(status_at_rest, run, trial, job, params, newest.training)
    status: RunStatus = reader.read(run.path, at_rest, "stopped")
    silent = seconds_silent(run.lease)
    if status == "stopped" and silent > ALIVE_SECONDS:
        reader.problems += filter(None, [job.hidden])
    return RunRecord(
        name,
        silent,
        status,
        sessions.started,
        labels.group,
        labels.job_type,
        labels.tags,
        trial.number,
        trial.seed,
        sessions.commit,
        job.job_id,
        "; ".join(reader.problems),
        params,
        {**trial.figures, **newest.as_metrics(), **joined(part.figures for part in results)},
        sessions.dataset,
        joined([sessions.evaluated, *(part.data for part in results)]),
        trial.breaches,
        job.started if job.started > sessions.last_start + 1 else 0.0,
    )


def read_param_values(run: RunDir) -> dict[str, RecordValue]:
    """Return parameters by path, as written: not validated, so that runs of older code are read too.

    Raises InputError where the file holds none.
    """
    with open_regular(run.params) as file:
        content = file.read(MAX_BYTES)
    values = parse_flat(content)
    return flatten_params(with_first_defaults(read_mapping(run.params) if values is None else values))


def flatten_params(values: Mapping[str, Any]) -> dict[str, RecordValue]:
    """Return the values of nested sections by path, as records keep them."""
    return {path: record_value(value) for path, value in flatten_sections(values).items()}


def record_value(value: object) -> RecordValue:
    """Return a value as records keep it: a list as its items separated by commas, others as text."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def finite_numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers among values; `prefix` is put before their keys."""
    return {
        f"{prefix}{key}": float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


@dataclass(frozen=True)
class NewestMetrics:
    """Last values of the metrics of a run."""

    training: Mapping[str, float] = field(default_factory=dict)
    """values of the last line of training"""
    evaluation: Mapping[str, float] = field(default_factory=dict)
    """figures of the last evaluation while training, by evaluation/..."""
    damage: str = ""
    """file, where a line is damaged"""

    def as_metrics(self) -> dict[str, float]:
        """Return both as the metrics of a record, without those of schedules."""
        return {
            **{key: value for key, value in self.training.items() if key not in SCHEDULE_METRICS},
            **self.evaluation,
        }


def read_newest_metrics(run: RunDir) -> NewestMetrics:
    """Return the last values of the metrics of a run."""
    last = last_lines_with(("loss", "evaluation"), run.metrics)
    training = finite_numbers(last.by_key.get("loss", {}))
    evaluation = last.by_key.get("evaluation", {}).get("evaluation", {})
    return NewestMetrics(training, finite_numbers(evaluation, "evaluation/"), last.damage)


@dataclass(frozen=True)
class ResultSummary:
    """Figures of a results file."""

    figures: Mapping[str, float] = field(default_factory=dict)
    """finite overall figures, by <suite>/<dataset>/<model>/<metric>"""
    data: Mapping[str, str] = field(default_factory=dict)
    """hashes of the data that they are of, by <suite>/<dataset>"""


def read_result_summary(file: Path) -> ResultSummary:
    """Return the summary of a results file. DamagedDataError where it is damaged."""
    results = Results(file, file.stem)
    return ResultSummary(finite_numbers(results.figures()), results.data_hashes())


def joined(parts: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """Return the items of all mappings."""
    return {key: value for part in parts for key, value in part.items()}


@dataclass(frozen=True)
class TrialSummary:
    """Number, seed, state and objectives in trial.json."""

    number: int | None
    seed: int | None
    state: str
    values: Mapping[str, float | None]
    """objectives by figure; of a trial that has not finished no results"""
    breaches: tuple[str, ...] = ()
    """constraints that it breaks, in words"""

    @property
    def figures(self) -> dict[str, float]:
        """Finite objectives of a finished trial."""
        return finite_numbers(self.values) if self.state == "finished" else {}


NO_TRIAL = TrialSummary(None, None, "", {})
"""Summary of a run that is no trial."""


def read_trial_summary(run: RunDir) -> TrialSummary:
    """Return the summary of trial.json. DamagedDataError where the file is damaged."""
    remedy = "restore it, or delete the run: another trial takes its place"
    return read_record(run.trial, TrialSummary, "record of a trial", remedy)


@dataclass(frozen=True)
class JobSummary:
    """State of a run's newest job, as far as its folder shows; its defaults stand for a run without one."""

    job_id: str = ""
    waits: bool = False
    failed: bool = False
    started: float = 0.0
    """time of its last start, unless that has left an outcome"""
    hidden: str = ""
    """reason for which its id alone is told"""


def read_job_summary(run: RunDir) -> JobSummary:
    """Return the state of a run's newest job. DamagedDataError where its record or a failure's is damaged."""
    if not exists(run.job):
        return JobSummary()
    from cosmos.launch.submission import read_submission  # late: a list of unchanged runs does without

    if not (submission := read_submission(run.job)):
        return JobSummary()
    (call, *_) = submission.calls
    if submission.closed or not is_dir(call.folder):
        return JobSummary(submission.job_id, hidden=submission.closed)
    is_over, failure, attempts = call.has_value(), call.first_failure(), call.attempts()
    return JobSummary(
        submission.job_id,
        waits=not is_over and not attempts,
        failed=not is_over and failure is not None and class_of_kind(failure.kind) is not StoppedError,
        started=attempts[-1].time if attempts and not is_over and failure is None else 0.0,
    )


@dataclass(frozen=True)
class SessionSummary:
    """First start, last commit and training data in provenance.json."""

    started: str = ""
    """time of the first start, in UTC"""
    commit: str = ""
    """commit of the last start"""
    dataset: Mapping[str, RecordValue] = field(default_factory=dict)
    """hash and size of the training data, as in a record"""
    evaluated: Mapping[str, str] = field(default_factory=dict)
    """hashes of the data that is measured while training, by evaluation/<dataset>"""
    last_start: float = 0.0
    """time of the last start, in seconds since the epoch, without their fraction"""


def read_session_summary(run: RunDir) -> SessionSummary:
    """Return a run's first start, last commit and training data. DamagedDataError for a damaged file."""
    recorded = read_provenance(run.provenance)
    if not recorded.sessions:
        return SessionSummary()
    first, last = recorded.sessions[0], recorded.sessions[-1]
    dataset, evaluated = dataset_values(recorded), evaluated_data(recorded)
    return SessionSummary(first.started, last.commit, dataset, evaluated, seconds_of_time(last.started))


def seconds_of_time(text: str) -> float:
    """Return a time in ISO format as seconds since the epoch; 0 for a text that is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def evaluated_data(recorded: Provenance) -> dict[str, str]:
    """Return the hashes of the data that is measured while training, by evaluation/<dataset>."""
    data = recorded.data.items()
    return {f"evaluation/{name}": digest for name, digest in data if name not in PREPARED_SPLITS}


def dataset_values(recorded: Provenance) -> dict[str, RecordValue]:
    """Return hash of the manifest and size of the training data in a provenance, by dataset.<key>."""
    values = {
        "manifest": short_hash(recorded.data.get("train", "")),
        "num_samples": recorded.dataset.num_samples,
        "num_shards": recorded.dataset.num_shards,
    }
    return {f"{DATASET_PREFIX}{key}": value for key, value in values.items() if value}


def status_at_rest(
    run: RunDir,
    trial: TrialSummary,
    job: JobSummary,
    params: Mapping[str, RecordValue],
    training: Mapping[str, float],
) -> RunStatus:
    """Return the status of a run that no process trains."""
    if trial.state == "paused":
        return "paused"
    if trial.state == "pruned":
        return "pruned"
    if trial.state == "finished" or is_trained(run, params, training):
        return "finished"
    if trial.state == "failed" or job.failed:
        return "failed"
    return "waiting" if job.waits else "stopped"


def is_trained(run: RunDir, params: Mapping[str, RecordValue], training: Mapping[str, float]) -> bool:
    """Return True when the checkpoint of the last step is there."""
    epochs, epoch = params.get("pretrain.epochs"), training.get("epoch", 0.0)
    if not epoch or not isinstance(epochs, int | float):
        return False
    return exists(run.checkpoint(round(training["step"] / epoch * epochs)))
