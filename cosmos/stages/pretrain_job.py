"""Pretraining as a job, and the jobs of all runs: list, attach, cancel.

Nothing here imports torch: submitting and looking take no more than the scheduler's answer.
"""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from cosmos.config.experiment import Experiment
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import Manifest
from cosmos.data.order import batch_per_rank
from cosmos.distributed.environment import is_first_process
from cosmos.errors import CosmosError, InputError
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.once import attachable_submission
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.sbatch import sbatch_script
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.submission import JobSpec, Submission, read_submission, submission_lock, submit_job
from cosmos.launch.watch import describe_job_state, wait_for_outcomes
from cosmos.run.directory import RunDir, load_saved_params, open_run
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import last_line_with
from cosmos.tracking.mirror import mirroring


@dataclass(frozen=True)
class Pretraining:
    """The stage call that a job gets; torch is imported where it runs."""

    params: Params
    machine: Machine
    path: Path
    quiet: bool = False

    def __call__(self) -> dict[str, Any]:
        """Runs the stage."""
        from cosmos.stages.pretrain import pretrain

        with mirroring(RunDir(self.path), self.machine.wandb):
            return pretrain(self.params, self.machine, self.path, self.quiet)


def launch_pretraining(experiment: Experiment, machine: Machine, path: Path, quiet: bool) -> dict[str, Any]:
    """Pretrains where the machine says: in this process, or as a job that is waited for.

    Raises ValueError with what the job's failing rank said, where it failed.
    """
    path = path.absolute()
    cluster = resolve_cluster(machine.cluster)
    if cluster == "debug":
        refuse_beside_job(RunDir(path), machine)
        return Pretraining(experiment.params, machine, path, quiet)()
    request = machine.slurm.over(experiment.needs)
    run = RunDir(path)
    with submission_lock(run.job):
        open_run(path, experiment.params)
        known = attachable_submission(run.job)
        if not known:
            check_before_queue(experiment.params, machine, request)
        call = Pretraining(experiment.params, machine, path)
        spec = JobSpec([call], request, cluster, run.job, run.jobs, f"cosmos-{path.name}")
        submission = known or submit_job(spec)
    show(f"job {submission.job_id}: {'attached' if known else 'submitted'}; {submission.folder}\n", quiet)
    return follow(submission, name_of(run, machine), quiet, from_start=not known)


def tag(path: Path, params: Params, tags: Iterable[str]) -> None:
    """Gives the run of a pretraining these tags in place of those that it had; the rest of its labels stays.

    Raises ValueError where another pretraining lives there, or its labels are damaged.
    """
    if not is_first_process():
        return
    run = open_run(path, params)
    kept = dict.fromkeys(word.strip() for word in tags if word.strip())
    replace(RunLabels.of(run), tags=tuple(kept)).write(run)


def name_of(run: RunDir, machine: Machine) -> str:
    """What `--run` calls a run."""
    return os.path.relpath(run.path, machine.runs_root)


def check_before_queue(params: Params, machine: Machine, request: JobRequest) -> None:
    """Finds now what a job would find after its time in the queue."""
    Manifest.read(machine.dataset(params.data.name, "train"))
    batch_per_rank(params.pretrain.batch_size, request.num_ranks)


def standing_job(run: RunDir) -> Submission | None:
    """The job of a run that waits, runs or has finished, if there is one. ValueError where nobody can say."""
    if not run.job.exists():
        return None
    with submission_lock(run.job):
        return attachable_submission(run.job)


def refuse_beside_job(run: RunDir, machine: Machine) -> None:
    """ValueError where a job trains this run already, or nobody can say that none does."""
    known = standing_job(run)
    if known and not known.is_finished():
        raise InputError(f"job {known.job_id} trains {run.path}; {ways_on(name_of(run, machine))}")


def ways_on(name: str) -> str:
    """What a person can do about a run's job."""
    return f"`cosmos attach {name}` shows it, `cosmos cancel {name}` ends it"


def follow(submission: Submission, name: str, quiet: bool, from_start: bool) -> dict[str, Any]:
    """Waits for a pretraining's job, its log streaming; Ctrl-C leaves the job running."""
    try:
        outcome = wait_for_outcomes(submission, lambda text: show(text, quiet), from_start)[0]
    except KeyboardInterrupt:
        print(f"\njob {submission.job_id} goes on: {ways_on(name)}", file=sys.stderr)
        raise
    return delivered(outcome)


def delivered(outcome: CallOutcome) -> dict[str, Any]:
    """Return what a job returned. Raises an error of its failing rank's class, which says why it failed."""
    if outcome.failure:
        raise outcome.failure.exception()
    value: dict[str, Any] = outcome.value
    return value


def show(text: str, quiet: bool) -> None:
    """A job's log, for a person; beside JSON, it goes to the error stream."""
    stream = sys.stderr if quiet else sys.stdout
    stream.write(text)
    stream.flush()


def dry_run(experiment: Experiment, machine: Machine, path: Path, quiet: bool) -> dict[str, Any]:
    """What would run, and the script that sbatch would get; nothing is written or submitted."""
    request = machine.slurm.over(experiment.needs)
    folder = RunDir(path.absolute()).jobs / "TOKEN"
    params = experiment.params.model_dump(mode="json")
    script = sbatch_script(request, f"cosmos-{path.name}-TOKEN", folder)
    if not quiet:
        print(f"# {path / 'params.yaml'}\n{yaml.safe_dump(params, sort_keys=False)}")
        print(f"# what sbatch gets (TOKEN: eight letters and digits of the submission)\n{script}")
    return {"run": str(path), "params": params, "request": request.model_dump(mode="json"), "script": script}


@dataclass(frozen=True)
class RunJob:
    """The job of a run, and how far the run is."""

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
    """of training, at this rate"""
    time_left: str
    """of the job, until its limit"""
    seconds_silent: float
    """since the run last wrote a line of metrics"""


def jobs(machine: Machine, quiet: bool) -> list[RunJob]:
    """The jobs of all runs, the newest first."""
    records = sorted(records_in(machine), key=lambda p: p.stat().st_mtime, reverse=True)
    rows = [run_job(RunDir(record.parent), machine) for record in records]
    if not quiet:
        print_jobs(rows, machine)
    return rows


def records_in(machine: Machine) -> list[Path]:
    """The records of jobs: of runs, and of runs that lie together in a folder."""
    return [*machine.runs_root.glob("*/job.json"), *machine.runs_root.glob("*/*/job.json")]


def run_job(run: RunDir, machine: Machine) -> RunJob:
    """The job of one run. What cannot be read is its state."""
    name = name_of(run, machine)
    try:
        submission = read_submission(run.job)
        if submission is None:
            return described(run, name, "", "debug", "in the command itself", JobState(""))
        state = current_state(submission)
        words = "finished" if submission.is_finished() else describe_job_state(state, submission.max_requeues)
        return described(run, name, submission.job_id, submission.cluster, words, state)
    except CosmosError as error:
        return RunJob(name, "", "", str(error), "", 0, 0, 0, 0.0, 0.0, "", 0.0)


def described(run: RunDir, name: str, job_id: str, cluster: str, words: str, state: JobState) -> RunJob:
    """The job of one run, and how far the run is; `words` say how the job stands."""
    last = last_line_with("loss", run.metrics) or {"step": 0, "epoch": 0.0, "samples_per_second": 0.0}
    params = load_saved_params(run).pretrain
    total = round(last["step"] / last["epoch"] * params.epochs) if last["epoch"] else 0
    rate = last["samples_per_second"]
    return RunJob(
        name,
        job_id,
        cluster,
        words,
        state.nodes,
        state.requeues,
        last["step"],
        total,
        rate,
        (total - last["step"]) * params.batch_size / rate if rate else 0.0,
        state.time_left,
        time.time() - run.metrics.stat().st_mtime if run.metrics.exists() else 0.0,
    )


def current_state(submission: Submission) -> JobState:
    """How a run's job stands; a scheduler that is silent leaves that open."""
    if not submission.job_id:
        return JobState("SUBMITTING")
    try:
        return submission.states()[0]
    except SlurmSilentError:
        return JobState("UNKNOWN", "Slurm does not answer")


def print_jobs(rows: list[RunJob], machine: Machine) -> None:
    """The table for a person."""
    if not rows:
        print(f"no jobs in {machine.runs_root}; `COSMOS_CLUSTER=slurm cosmos pretrain` submits one")
        return
    table = Table(
        "run", "job", "state", "step", "samples/s", "left", "limit", "last line", box=box.SIMPLE_HEAD
    )
    for row in rows:
        alive = row.state.split()[0] in ("running", "completing")
        table.add_row(
            row.run,
            row.job_id,
            row.state,
            f"{row.step}/{row.total_steps}" if row.total_steps else "",
            f"{row.samples_per_second:.1f}" if row.samples_per_second else "",
            duration(row.seconds_left) if alive and row.total_steps else "",
            row.time_left,
            f"{duration(row.seconds_silent)} ago" if row.step else "",
        )
    Console().print(table)


def duration(seconds: float) -> str:
    """A time to read: 42 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes % 60):02} min"
    return f"{int(hours // 24)} d {int(hours % 24)} h"


def attach(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Follows a run's job until it ends; returns what it returned."""
    return follow(submission_of(name, machine), name, quiet, from_start=False)


def cancel(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Ends a run's job. What is saved stays."""
    submission = submission_of(name, machine)
    was_alive = end(submission)
    if not quiet:
        said = "cancelled; the same pretrain command goes on from the last save"
        print(f"job {submission.job_id}: {said if was_alive else 'had ended already'}")
    return {"run": name, "job": submission.job_id, "cancelled": was_alive}


def end(submission: Submission) -> bool:
    """Ends a job that waits or runs; whether it did. ValueError where nobody can say."""
    was_alive = not submission.is_finished() and submission.is_alive()
    if was_alive:
        submission.cancel()
    return was_alive


def submission_of(name: str, machine: Machine) -> Submission:
    """The submission of a run. ValueError where there is none, or nobody can say how it stands."""
    record = RunDir(machine.runs_root / name).job
    submission = None
    if record.exists():
        with submission_lock(record):
            submission = attachable_submission(record) or read_submission(record)
    if submission is None or not submission.job_id:
        known_runs = sorted(
            str(record.parent.relative_to(machine.runs_root)) for record in records_in(machine)
        )
        have = f"these runs have: {', '.join(known_runs)}" if known_runs else "no run has"
        raise InputError(f"{machine.runs_root / name} has no job; {have}")
    return submission
