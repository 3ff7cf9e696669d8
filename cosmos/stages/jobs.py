"""Jobs of runs: list them, attach to one, cancel one.

Nothing here imports torch, so that a list takes no longer than the scheduler's answers.
"""

import os
import shlex
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich import box
from rich.table import Table

from cosmos.config.figures import EPOCH, LOSS, SAMPLES_PER_SECOND, STEP, describe_missing_data
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.number_text import format_number
from cosmos.config.printable_text import print_text, printable
from cosmos.errors import InputError, Interrupted, is_permanent
from cosmos.launch.once import attachable_submission
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.slurm import JobState, SlurmSilentError, states_of_jobs
from cosmos.launch.submission import Submission, read_submission, submission_lock
from cosmos.launch.watch import describe_job_state, wait_for_outcomes
from cosmos.report.terminal import Terminal
from cosmos.run.directory import RunDir, load_saved_params, require_listable
from cosmos.run.metrics import last_line_with
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
    """file of the run that cannot be read, and why; the other fields are then those of no job"""


def list_jobs(machine: Machine, quiet: bool) -> list[RunJob]:
    """Return the jobs of all runs, the newest first, and print them unless `quiet`."""
    records = sorted(job_records(machine), key=time_of_change, reverse=True)
    states = states_on_slurm(records)
    rows = [job_of_run(RunDir(record.parent), machine, states) for record in records]
    if not quiet:
        print_jobs(rows, machine)
    return rows


def attach_to_job(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Follow the job of the run `name` until it ends, and return the summary of its pretraining.

    Where it failed, raises an error of the failing rank's class.
    """
    outcome = follow_job(submission_of_run(name, machine), name, quiet, from_start=False)
    return outcome.result_as(dict[str, Any])


def cancel_run(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """End the job of the run `name`. What is saved stays."""
    submission = submission_of_run(name, machine)
    was_alive = end_submission(submission)
    if not quiet:
        done = "cancelled; the same pretrain command goes on from the last save"
        print_text(f"job {submission.job_id}: {done if was_alive else 'had ended already'}")
    return {"run": name, "job": submission.job_id, "cancelled": was_alive}


def end_submission(submission: Submission) -> bool:
    """End a job; return True if it waited or ran. Raises SlurmSilentError where Slurm does not answer."""
    was_alive = not submission.is_finished() and submission.is_alive()
    if was_alive:
        submission.cancel()
    return was_alive


def follow_job(submission: Submission, name: str, quiet: bool, from_start: bool) -> CallOutcome:
    """Wait for a pretraining's job while printing its log, and return its outcome.

    Ctrl-C or a signal leaves the job running.
    """
    try:
        return wait_for_outcomes(submission, lambda text: print_job_log(text, quiet), from_start)[0]
    except (KeyboardInterrupt, Interrupted):
        print_text(f"\njob {submission.job_id} goes on: {attach_or_cancel(name)}", to_errors=True)
        raise


def print_job_log(text: str, quiet: bool) -> None:
    """Print text of a job's log: on the error stream where JSON goes to the output (`quiet`)."""
    print_text(text, to_errors=quiet, end="")


def attach_or_cancel(name: str) -> str:
    """Return a remark with the commands that attach to the job of the run `name` and cancel it."""
    attach, cancel = job_commands(name)
    return f"`{attach}` shows it, `{cancel}` ends it"


def job_commands(name: str) -> tuple[str, str]:
    """Return the commands that attach to the job of the run `name`, and that cancel it, for a shell."""
    return f"cosmos attach {shlex.quote(name)}", f"cosmos cancel {shlex.quote(name)}"


def name_of_run(run: RunDir, machine: Machine) -> str:
    """Return the name of a run that `--run` takes."""
    return os.path.relpath(run.path, machine.runs_root)


def job_records(machine: Machine) -> list[Path]:
    """Return the files of the records of jobs: of runs, and of runs that lie together in a folder.

    Raises as `require_listable`.
    """
    require_listable(machine.runs_root)
    return [*machine.runs_root.glob("*/job.json"), *machine.runs_root.glob("*/*/job.json")]


def time_of_change(path: Path) -> float:
    """Return the time at which a file was changed; 0 where it is gone or cannot be asked."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def attachable_job(run: RunDir) -> Submission | None:
    """Return the job of a run that waits, runs or has finished; None otherwise.

    Raises SlurmSilentError where Slurm does not answer.
    """
    if not run.job.exists():
        return None
    with submission_lock(run.job):
        return attachable_submission(run.job)


def submission_of_run(name: str, machine: Machine) -> Submission:
    """Return the submission of the run `name`.

    Raises InputError where there is none, and SlurmSilentError where Slurm does not answer.
    """
    record = RunDir(machine.runs_root / name).job
    submission = None
    if record.exists():
        submission = find_submission(record)
    if submission is None or not submission.job_id:
        runs = sorted(str(record.parent.relative_to(machine.runs_root)) for record in job_records(machine))
        have = f"of the runs that have one, {near_names(name, runs)}" if runs else "no other run has one"
        raise InputError(f"{machine.runs_root / name} has no job; {have}")
    return submission


def find_submission(record: Path) -> Submission | None:
    """Return the submission on record, also of a run that this user cannot write: it is only read then.

    Raises SlurmSilentError where Slurm does not answer.
    """
    try:
        with submission_lock(record):
            return attachable_submission(record) or read_submission(record)
    except OSError as error:
        if not is_permanent(error):
            raise
        return read_submission(record)


def states_on_slurm(records: Iterable[Path]) -> dict[str, JobState]:
    """Return the states of jobs on Slurm by their id, which is asked once for all of these records."""
    jobs = dict[str, int]()
    for record in records:
        with suppress(Exception):  # a damaged record, which has a row of its own
            submission = read_submission(record)
            if submission and submission.cluster == "slurm" and submission.job_id:
                jobs[submission.job_id] = submission.num_calls
    try:
        return {job_id: states[0] for job_id, states in states_of_jobs(jobs).items()} if jobs else {}
    except SlurmSilentError:
        return dict.fromkeys(jobs, SILENT)


def job_of_run(run: RunDir, machine: Machine, states: Mapping[str, JobState] = NONE_ASKED) -> RunJob:
    """Return the job of one run; where a file of it cannot be read, a job with this as its problem.

    `states`: those of jobs on Slurm that were asked for already, by id.
    """
    name = name_of_run(run, machine)
    try:
        submission = read_submission(run.job)
        if submission is None:
            return run_job(run, name, "", "debug", "in the command itself", JobState(""))
        finished = submission.is_finished()
        state = states.get(submission.job_id) if submission.cluster == "slurm" else None
        state = state or current_job_state(submission)
        words = trial_standing(run) if finished else describe_job_state(state, submission.max_requeues)
        return run_job(run, name, submission.job_id, submission.cluster, words, state)
    except Exception as error:  # a damaged file may raise any error in its reader
        problem = describe_problem(run.path, error)
        return RunJob(name, "", "", "unknown", "", 0, 0, 0, 0.0, 0.0, "", 0.0, problem=problem)


def trial_standing(run: RunDir) -> str:
    """Return `finished` for a run whose job has, or the epoch at which it is paused as a trial."""
    if not run.trial.exists():
        return "finished"
    trial = TrialRecord.of(run)
    return trial.standing if trial.state == "paused" else "finished"


def run_job(run: RunDir, name: str, job_id: str, cluster: str, words: str, state: JobState) -> RunJob:
    """Return the job of one run, with progress from the run's metrics; `words` describe the job's state."""
    last = last_line_with(LOSS.name, run.metrics)
    step, epoch = last.get(STEP.name, 0), last.get(EPOCH.name) or 0.0
    rate = last.get(SAMPLES_PER_SECOND.name) or 0.0
    params = load_saved_params(run).pretrain
    total = round(step / epoch * params.epochs) if epoch else 0
    return RunJob(
        name,
        job_id,
        cluster,
        words,
        state.nodes,
        state.requeues,
        step,
        total,
        rate,
        (total - step) * params.batch_size / rate if rate else 0.0,
        state.time_left,
        time.time() - run.metrics.stat().st_mtime if run.metrics.exists() else 0.0,
        describe_missing_data(last),
    )


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
