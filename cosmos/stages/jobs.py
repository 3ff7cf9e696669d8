"""Jobs of runs: attach to one, cancel one."""

import os
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.printable_text import cosmos_command, print_text
from cosmos.errors import InputError, Interrupted, is_permanent
from cosmos.launch.once import attachable_submission
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.submission import Submission, read_submission, submission_lock
from cosmos.launch.watch import wait_for_outcomes
from cosmos.run.directory import RunDir, job_records


def attach_to_job(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Follow the job of the run `name` until it ends, and return the summary of its pretraining.

    Where it failed, raises an error of the failing rank's class.
    """
    outcome = follow_job(submission_of_run(name, machine), name, quiet, from_start=False)
    return outcome.result_as(dict[str, Any])


def cancel_run(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """End the job of the run `name`, and the one that evaluates it beside. What is saved stays."""
    submission = submission_of_run(name, machine)
    was_alive = end_submission(submission)
    end_evaluation(RunDir(machine.runs_root / name))
    if not quiet:
        done = "cancelled; the same pretrain command goes on from the last save"
        print_text(f"job {submission.job_id}: {done if was_alive else 'had ended already'}")
    return {"run": name, "job": submission.job_id, "cancelled": was_alive}


def end_evaluation(run: RunDir) -> None:
    """End the job that evaluates a run beside its training, if there is one; raises as `end_submission`."""
    submission = read_submission(run.evaluation_job)
    if submission and submission.job_id:
        end_submission(submission)


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
    return cosmos_command("attach", name), cosmos_command("cancel", name)


def name_of_run(run: RunDir, machine: Machine) -> str:
    """Return the name of a run that `--run` takes."""
    return os.path.relpath(run.path, machine.runs_root)


def attachable_job(run: RunDir) -> Submission | None:
    """Return the job of a run that waits, runs or has finished; None otherwise.

    Raises SlurmSilentError where Slurm does not answer.
    """
    if not exists(run.job):
        return None
    with submission_lock(run.job):
        return attachable_submission(run.job)


def submission_of_run(name: str, machine: Machine) -> Submission:
    """Return the submission of the run `name`.

    Raises InputError where there is none, and SlurmSilentError where Slurm does not answer.
    """
    record = RunDir(machine.runs_root / name).job
    submission = None
    if exists(record):
        submission = find_submission(record)
    if submission is None or not submission.job_id:
        records = job_records(machine.runs_root)
        runs = [str(record.parent.relative_to(machine.runs_root)) for record in records]
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
