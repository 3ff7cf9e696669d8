"""List of jobs: of runs, with progress from their records, which the index mostly has, and of evaluations.

Nothing here imports torch, so that a list takes no longer than the scheduler's answers.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cosmos.config.disk_reading import exists, find_paths, lexists, list_names
from cosmos.config.figures import EPOCH, SAMPLES_PER_SECOND, STEP, describe_missing_data
from cosmos.config.machine import Machine
from cosmos.errors import InputError, StoppedError, class_of_kind
from cosmos.launch.slurm import FINAL_STATES, JobState, SlurmSilentError, states_of_jobs
from cosmos.launch.submission import Submission, read_submission
from cosmos.launch.watch import describe_job_states
from cosmos.registry.index import list_runs
from cosmos.registry.record import JOB_FILE, RunRecord, read_run_record
from cosmos.run.directory import EVALUATIONS_FOLDER, RunDir
from cosmos.run.records import describe_problem
from cosmos.run.sweep_directory import TrialRecord

if TYPE_CHECKING:
    from cosmos.registry.run_forecast import Forecaster

JobKind = Literal["pretrain", "trial", "evaluate"]
"""Kind of a job: a pretraining, that of a trial of a sweep, or an evaluation."""

SILENT = JobState("UNKNOWN", "Slurm does not answer")
"""State of jobs on a Slurm that does not answer."""

ENDED_STATUSES = frozenset(["finished", "paused", "stopped", "ended", *map(str.lower, FINAL_STATES)])
"""Statuses of jobs of which nothing waits or runs."""

JobStates = Mapping[str, Sequence[JobState]]
"""States of jobs on Slurm by their id: one for each call."""

DIGEST = re.compile("[0-9a-f]{16}")
"""Names of the records of evaluations of several runs."""

TRAINING_STATUSES = frozenset(["running", "completing"])
"""Statuses of jobs that train."""

LossForecasts = Callable[[RunRecord, RunDir], str]
"""Function that forecasts the loss of a run in words."""

NONE_ASKED: JobStates = MappingProxyType({})
"""States of no job."""


@dataclass(frozen=True)
class RunJob:
    """Job of a run, and progress of the run; or a job that evaluates."""

    run: str
    """name of the run; of evaluations of several runs, that of their record"""
    job_id: str
    cluster: str
    state: str
    """in words: running on node[0-1], pending (Resources), finished, failed, ..."""
    nodes: str
    requeues: int
    step: int
    total_steps: int
    samples_per_second: float
    seconds_left: float
    """seconds until training ends, at this rate"""
    time_left: str
    """time until the job reaches its limit"""
    seconds_silent: float
    """seconds since the run last wrote a line of metrics"""
    missing_data: str = ""
    """samples used of those listed, such as "393 of 400", where some are missing or damaged"""
    problem: str = ""
    """files of the run that cannot be read, and why"""
    kind: JobKind = "pretrain"
    subject: str = ""
    """suites, checkpoints or step that an evaluation measures"""
    status: str = ""
    """state in a word: running, pending, finished, failed, ..."""
    loss: str = ""
    """last loss of a run that trains, and the forecast of its end with the interval"""

    @property
    def has_ended(self) -> bool:
        """True when nothing of the job waits or runs."""
        return self.status in ENDED_STATUSES


@dataclass(frozen=True)
class JobQuery:
    """Conditions that select jobs."""

    names: Sequence[str] = ()
    """runs, folders of runs such as sweeps, or patterns such as `ema*`; empty: all"""
    statuses: Sequence[str] = ()
    """words such as running; empty: all"""
    kinds: Sequence[str] = ()
    """kinds of jobs; empty: all"""

    def may_select(self, entry: "JobEntry") -> bool:
        """Return True for a job whose name and kind are asked for."""
        is_named = not self.names or any(is_name_like(entry.name, pattern) for pattern in self.names)
        return is_named and (not self.kinds or entry.kind in self.kinds)

    def selects(self, job: RunJob) -> bool:
        """Return True for a job, of those that may be selected, whose status is asked for."""
        return not self.statuses or job.status in map(str.lower, self.statuses)


@dataclass(frozen=True)
class JobEntry:
    """Job on record, before any scheduler is asked."""

    name: str
    kind: JobKind
    record: Path
    """file of its submission"""
    submission: Submission | Exception | None
    """submission on record; None without one, or the error of a record that cannot be read"""
    describe: Callable[["JobEntry", JobStates], RunJob]
    """function that returns the job, by the states that were asked for"""


def query_jobs(query: JobQuery, machine: Machine) -> tuple[list[RunJob], int]:
    """Return the jobs that a query selects, and the number of all; those that wait or run, then the newest.

    Raises as `index.list_runs`.
    """
    entries = list(job_entries(machine.runs_root))
    asked = [entry for entry in entries if query.may_select(entry)]
    asked.sort(key=lambda entry: time_of_change(entry.record), reverse=True)
    states = states_on_slurm([e.submission for e in asked if isinstance(e.submission, Submission)])
    jobs = [job for entry in asked if query.selects(job := entry.describe(entry, states))]
    return sorted(jobs, key=lambda job: job.has_ended), len(entries)


def job_entries(root: Path) -> Iterator[JobEntry]:
    """Yield the jobs on record below a folder of runs: of runs, then of evaluations."""
    runs = list_runs(root)
    foresee = loss_forecasts(runs, root)
    for record in runs:
        run = RunDir(root / record.name)
        if has_job(root / record.name):
            kind: JobKind = "trial" if lexists(run.trial) else "pretrain"
            yield JobEntry(record.name, kind, run.job, read_job(run.job), describe_with(record, run, foresee))
    for name, file in evaluation_records(root, [record.name for record in runs]):
        yield JobEntry(name, "evaluate", file, read_job(file), describe_evaluation)


def has_job(folder: Path) -> bool:
    """Return True for a run with a job on record; False for one that this user may not enter: another's."""
    try:
        return lexists(folder / JOB_FILE)
    except PermissionError:
        return False


def evaluation_records(root: Path, runs: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield the records of jobs that evaluate, each with the name of the run that it is of.

    Results of a checkpoint from elsewhere have a folder among the runs, too. A folder that this user may not
    list is another's, and passed over.
    """
    for name in dict.fromkeys([*runs, *list_names(root)]):
        with suppress(InputError):
            yield from ((name, file) for file in RunDir(root / name).evaluation_jobs)
    for file in find_paths(root, f"{EVALUATIONS_FOLDER}/*.json"):
        if DIGEST.fullmatch(file.stem):  # others are those of a run of that name
            yield f"{EVALUATIONS_FOLDER}/{file.stem}", file


def describe_with(
    record: RunRecord, run: RunDir, foresee: LossForecasts
) -> Callable[[JobEntry, JobStates], RunJob]:
    """Return the function that describes the job of a run of which there is this record."""

    def describe(entry: JobEntry, states: JobStates) -> RunJob:
        job = replace(job_of_record(record, run, entry.submission, states), kind=entry.kind)
        return replace(job, loss=foresee(record, run)) if job.status in TRAINING_STATUSES else job

    return describe


def loss_forecasts(records: Sequence[RunRecord], root: Path) -> LossForecasts:
    """Return the function that forecasts the loss of a run in words; "" where there is no forecast."""

    @cache
    def forecaster() -> "Forecaster":
        from cosmos.registry.run_forecast import Forecaster  # late: other jobs do without numpy

        return Forecaster(records, root)

    def foresee(record: RunRecord, run: RunDir) -> str:
        loss = forecaster().loss(record, run)
        return loss.describe() if loss else ""

    return foresee


def is_name_like(name: str, pattern: str) -> bool:
    """Return True for a name that is `pattern`, lies in the folder of that name, or is like that pattern."""
    folder = pattern.rstrip("/")
    return name == folder or name.startswith(f"{folder}/") or fnmatchcase(name, pattern)


def time_of_change(path: Path) -> float:
    """Return the time at which a file was changed; 0 where it is gone or cannot be asked."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def read_job(record: Path) -> Submission | Exception | None:
    """Return the submission on record, None without one, or the error of a record that cannot be read."""
    try:
        return read_submission(record)
    except Exception as error:  # a damaged file may raise any error in its reader
        return error


def states_on_slurm(submissions: Sequence[Submission]) -> dict[str, list[JobState]]:
    """Return the states of jobs on Slurm by their id, which is asked once for all of them."""
    jobs = {job.job_id: job.num_calls for job in submissions if job.cluster == "slurm" and job.job_id}
    try:
        return states_of_jobs(jobs) if jobs else {}
    except SlurmSilentError:
        return {job_id: [SILENT] for job_id in jobs}


def job_of_run(run: RunDir, machine: Machine) -> RunJob:
    """Return the job of one run; what of its files cannot be read is the job's problem."""
    record = read_run_record(run, os.path.relpath(run.path, machine.runs_root))
    return job_of_record(record, run, read_job(run.job), NONE_ASKED)


def job_of_record(
    record: RunRecord, run: RunDir, job: Submission | Exception | None, states: JobStates
) -> RunJob:
    """Return the job of the run of a record; `states`: those of jobs on Slurm that were asked for, by id."""
    try:
        if isinstance(job, Exception):
            raise job
        if job is None:
            own = progress(record, run, "", "debug", "in the command itself", JobState(""))
            return replace(own, status=record.status)
        words, state = describe_submission(job, states, closed=record.status)
        words = standing_of(run) if job.is_finished() else words
        return progress(record, run, job.job_id, job.cluster, words, state)
    except Exception as error:  # of a damaged file, or of a job of another machine
        problem = record.problem or describe_problem(run.path, error)
        return replace(progress(record, run, "", "", "unknown", JobState("")), problem=problem)


def describe_evaluation(entry: JobEntry, states: JobStates) -> RunJob:
    """Return a job that evaluates; what of its files cannot be read is its problem."""
    unknown = RunJob(entry.name, "", "", "unknown", "", 0, 0, 0, 0.0, 0.0, "", 0.0, kind="evaluate")
    job = entry.submission
    try:
        if isinstance(job, Exception):
            raise job
        if job is None:  # it was removed meanwhile
            return replace(unknown, state="finished", status="finished")
        words, state = describe_submission(job, states, closed="ended")
        words = "finished" if job.is_finished() else words
    except Exception as error:  # of a damaged file, or of a job of another machine
        return replace(unknown, status="unknown", problem=describe_problem(entry.record.parent, error))
    return replace(
        unknown,
        job_id=job.job_id,
        cluster=job.cluster,
        state=words,
        status=status_word(words, state),
        nodes=state.nodes,
        requeues=state.requeues,
        time_left=state.time_left,
        subject=job.subject,
    )


def describe_submission(job: Submission, states: JobStates, closed: str) -> tuple[str, JobState]:
    """Return the states of a job in words, and the state that tells most of an array.

    `closed`: the word for another user's job that has ended, whose folder would tell how.
    """
    asked = states.get(job.job_id) if job.cluster == "slurm" else None
    of_calls = asked or current_job_states(job)
    state = leading_state(of_calls)
    if job.closed and all(each.is_final for each in of_calls):
        return closed, state
    left = outcome_left(job) if state.state == "GONE" else ""
    return left or describe_job_states(of_calls, job.max_requeues), state


def outcome_left(job: Submission) -> str:
    """Return `failed` or `stopped` for a job that is no longer there, by its folder; "" otherwise."""
    failures = [failure for call in job.calls if (failure := call.first_failure())]
    if not failures:
        return ""
    has_failed = any(class_of_kind(failure.kind) is not StoppedError for failure in failures)
    return "failed" if has_failed else "stopped"


def leading_state(states: Sequence[JobState]) -> JobState:
    """Return the state of a call that runs, or else of one that waits or did not complete."""
    return min(
        states, key=lambda state: (state.state != "RUNNING", state.is_final, state.state == "COMPLETED")
    )


def status_word(words: str, state: JobState) -> str:
    """Return the status of a job: the first of the words about it, or else that of the state that leads."""
    first = words.partition(" ")[0]
    return first if first.isalpha() else state.state.lower()


def standing_of(run: RunDir) -> str:
    """Return `finished` for a run whose job has, or the epoch at which it is paused as a trial."""
    if not exists(run.trial):
        return "finished"
    trial = TrialRecord.of(run)
    return trial.standing if trial.state == "paused" else "finished"


def progress(
    record: RunRecord, run: RunDir, job_id: str, cluster: str, words: str, state: JobState
) -> RunJob:
    """Return the job of a run with the progress in its record; `words` describe the job's state."""
    metrics = record.metrics
    step, rate = round(metrics.get(STEP.name, 0)), metrics.get(SAMPLES_PER_SECOND.name, 0.0)
    epoch, epochs = metrics.get(EPOCH.name, 0.0), number_in(record, "pretrain.epochs")
    total = round(step / epoch * epochs) if epoch else 0
    written = time_of_change(run.metrics)
    return RunJob(
        record.name,
        job_id,
        cluster,
        words,
        state.nodes,
        state.requeues,
        step,
        total,
        rate,
        (total - step) * number_in(record, "pretrain.batch_size") / rate if rate else 0.0,
        state.time_left,
        time.time() - written if written else 0.0,
        describe_missing_data(metrics),
        record.problem,
        status=status_word(words, state),
    )


def number_in(record: RunRecord, key: str) -> float:
    """Return a parameter of a record that is to be a number; 0 where it is none."""
    value = record.params.get(key)
    return value if isinstance(value, int | float) else 0


def current_job_states(submission: Submission) -> Sequence[JobState]:
    """Return the states of a job's calls; UNKNOWN where Slurm does not answer."""
    if not submission.job_id:
        return [JobState("SUBMITTING")]
    try:
        return submission.states()
    except SlurmSilentError:
        return [SILENT]
