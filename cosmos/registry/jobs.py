"""List of the jobs of runs: state, and progress from the records of runs, which the index mostly has.

Nothing here imports torch, so that a list takes no longer than the scheduler's answers.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from rich import box
from rich.table import Table

from cosmos.config.figures import EPOCH, SAMPLES_PER_SECOND, STEP, describe_missing_data
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_number
from cosmos.config.printable_text import print_text, printable
from cosmos.launch.slurm import JobState, SlurmSilentError, states_of_jobs
from cosmos.launch.submission import Submission, read_submission
from cosmos.launch.watch import describe_job_state
from cosmos.registry.index import list_runs
from cosmos.registry.record import JOB_FILE, RunRecord, read_run_record
from cosmos.report.terminal import Terminal
from cosmos.run.directory import RunDir
from cosmos.run.records import describe_problem
from cosmos.run.sweep_directory import TrialRecord

COLUMNS = ("run", "job", "state", "step", "samples/s", "left", "limit", "last line")
"""Headings of the table of jobs."""

SILENT = JobState("UNKNOWN", "Slurm does not answer")
"""State of jobs on a Slurm that does not answer."""

NONE_ASKED: Mapping[str, JobState] = MappingProxyType({})
"""States of no job."""


@dataclass(frozen=True)
class RunJob:
    """Job of a run, and progress of the run."""

    run: str
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


def list_jobs(machine: Machine, quiet: bool) -> list[RunJob]:
    """Return the jobs of all runs, the newest first, and print them unless `quiet`.

    Raises as `index.list_runs`.
    """
    root = machine.runs_root
    with_job = [record for record in list_runs(root) if os.path.lexists(root / record.name / JOB_FILE)]
    newest = sorted(with_job, key=lambda record: time_of_change(root / record.name / JOB_FILE), reverse=True)
    jobs = [(record, RunDir(root / record.name), read_job(RunDir(root / record.name))) for record in newest]
    states = states_on_slurm([job for _, _, job in jobs if isinstance(job, Submission)])
    rows = [job_of_record(record, run, job, states) for record, run, job in jobs]
    if not quiet:
        print_jobs(rows, machine)
    return rows


def time_of_change(path: Path) -> float:
    """Return the time at which a file was changed; 0 where it is gone or cannot be asked."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def read_job(run: RunDir) -> Submission | Exception | None:
    """Return the submission of a run, None without one, or the error of a record that cannot be read."""
    try:
        return read_submission(run.job)
    except Exception as error:  # a damaged file may raise any error in its reader
        return error


def states_on_slurm(submissions: Sequence[Submission]) -> dict[str, JobState]:
    """Return the states of jobs on Slurm by their id, which is asked once for all of them."""
    jobs = {job.job_id: job.num_calls for job in submissions if job.cluster == "slurm" and job.job_id}
    try:
        return {job_id: states[0] for job_id, states in states_of_jobs(jobs).items()} if jobs else {}
    except SlurmSilentError:
        return dict.fromkeys(jobs, SILENT)


def job_of_run(run: RunDir, machine: Machine) -> RunJob:
    """Return the job of one run; what of its files cannot be read is the job's problem."""
    record = read_run_record(run, os.path.relpath(run.path, machine.runs_root))
    return job_of_record(record, run, read_job(run), NONE_ASKED)


def job_of_record(
    record: RunRecord, run: RunDir, job: Submission | Exception | None, states: Mapping[str, JobState]
) -> RunJob:
    """Return the job of the run of a record; `states`: those of jobs on Slurm that were asked for, by id."""
    try:
        if isinstance(job, Exception):
            raise job
        if job is None:
            return progress(record, run, "", "debug", "in the command itself", JobState(""))
        asked = states.get(job.job_id) if job.cluster == "slurm" else None
        state = asked or current_job_state(job)
        words = standing_of(run) if job.is_finished() else describe_job_state(state, job.max_requeues)
        return progress(record, run, job.job_id, job.cluster, words, state)
    except Exception as error:  # of a damaged file, or of a job of another machine
        problem = record.problem or describe_problem(run.path, error)
        return replace(progress(record, run, "", "", "unknown", JobState("")), problem=problem)


def standing_of(run: RunDir) -> str:
    """Return `finished` for a run whose job has, or the epoch at which it is paused as a trial."""
    if not run.trial.exists():
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
    )


def number_in(record: RunRecord, key: str) -> float:
    """Return a parameter of a record that is to be a number; 0 where it is none."""
    value = record.params.get(key)
    return value if isinstance(value, int | float) else 0


def current_job_state(submission: Submission) -> JobState:
    """Return the state of a run's job; UNKNOWN where Slurm does not answer."""
    if not submission.job_id:
        return JobState("SUBMITTING")
    try:
        return submission.states()[0]
    except SlurmSilentError:
        return SILENT


def print_jobs(rows: list[RunJob], machine: Machine) -> None:
    """Print the table of jobs."""
    if not rows:
        print_text(f"no jobs in {machine.runs_root}; `COSMOS_CLUSTER=slurm cosmos pretrain` submits one")
        return
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(printable, job_cells(row)))
    Terminal().print(table)
    for problem in (row.problem for row in rows if row.problem):
        print_text(printable(problem))


def job_cells(row: RunJob) -> tuple[str, ...]:
    """Return the texts of a job's row, below COLUMNS."""
    alive = row.state.startswith(("running", "completing"))
    return (
        row.run,
        row.job_id,
        row.state,
        f"{row.step}/{row.total_steps}" if row.total_steps else "",
        format_number(row.samples_per_second) if row.samples_per_second else "",
        format_duration(row.seconds_left) if alive and row.total_steps else "",
        row.time_left,
        f"{format_duration(row.seconds_silent)} ago" if row.step else "",
    )


def format_duration(seconds: float) -> str:
    """Return a time to read: 42 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes % 60):02} min"
    return f"{int(hours // 24)} d {int(hours % 24)} h"
