"""Evaluation of a checkpoint where the machine says: in this process, or as a job that is waited for.

Nothing here imports torch, unless a checkpoint has to be downloaded first.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import find_paths, is_dir, is_file
from cosmos.config.evaluate_params import PREPARED_SPLITS, SuiteName
from cosmos.config.experiment import Experiment
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.errors import DamagedDataError, InputError, Interrupted
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.once import launch
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.slurm import SlurmSilentError
from cosmos.launch.submission import JobSpec, read_submission, submission_lock
from cosmos.launch.watch import ShowText
from cosmos.model.checkpoint_reference import (
    CheckpointReference,
    FileReference,
    OpenClipReference,
    checkpoint_to_evaluate,
)
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import require_own_folder
from cosmos.stages.evaluation_result import EvaluationResult, is_result_file, publish_results
from cosmos.stages.jobs import end_submission, print_job_log
from cosmos.tracking.mirror import mirroring


@dataclass(frozen=True)
class Evaluation:
    """Stage call of a job: suites measure one checkpoint. torch is imported where it runs."""

    suites: tuple[SuiteName, ...]
    params: Params
    machine: Machine
    path: Path
    """the run directory that results go to"""
    checkpoint: str
    """"": the run's newest"""
    quiet: bool = False

    def __call__(self) -> dict[str, Any]:
        """Run the stage, and return the fields of EvaluationResult."""
        from cosmos.stages.evaluate import evaluate

        with mirroring(RunDir(self.path), self.machine.wandb):
            return asdict(
                evaluate(self.suites, self.params, self.machine, self.path, self.checkpoint, self.quiet)
            )

    @property
    def subject(self) -> CheckpointReference:
        """Reference of the checkpoint. Raises InputError where the run has none."""
        return checkpoint_to_evaluate(RunDir(self.path), self.checkpoint)


def launch_evaluation(
    names: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    path: Path,
    checkpoint: str,
    quiet: bool,
) -> EvaluationResult:
    """Evaluate where the machine says: in this process, or as a job that is waited for; see `evaluate`.

    Where the job failed, raises an error of the failing rank's class, with its message.
    """
    call = Evaluation(tuple(names), experiment.params, machine, path, checkpoint, quiet)
    cluster = resolve_cluster(machine.cluster)
    if cluster == "debug":
        return EvaluationResult(**call())
    check_evaluation(call)
    spec = JobSpec(
        [replace(call, quiet=False)],
        evaluation_request(experiment, machine),
        cluster,
        RunDir(path).jobs / f"evaluate-{evaluation_digest([call])}.json",
        f"evaluate-{path.name}",
        subject=", ".join([*names, *filter(None, [checkpoint])]),
    )
    (outcome,) = launch_evaluations(spec, partial(print_job_log, quiet=quiet))
    return outcome.result_as(EvaluationResult)


def evaluate_into(
    output: Path,
    names: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    path: Path,
    checkpoint: str,
    quiet: bool,
) -> EvaluationResult:
    """Evaluate, and put the results of this evaluation alone into `output`, in place of what was there.

    `output` stays as it was where not everything was measured. Raises the errors of `launch_evaluation`, and
    InputError for an `output` with other files than results.
    """
    require_own_folder(output, is_result_file)
    evaluated = launch_evaluation(names, experiment, machine, path, checkpoint, quiet)
    if evaluated.is_first and not evaluated.problems:
        publish_results(evaluated, RunDir(path), checkpoint, output)
        print_job_log(f"output: {output}\n", quiet)
    return evaluated


def launch_evaluations(spec: JobSpec, show: ShowText) -> list[CallOutcome]:
    """Launch jobs, or wait for those that were launched; Ctrl-C or a signal leaves them running.

    The record of jobs that have ended is deleted: files of results show which measurements are there.
    """
    try:
        outcomes = launch(spec, show)
    except (KeyboardInterrupt, Interrupted):
        if submission := read_submission(spec.record):
            job = submission.job_id
            end = f"{'scancel' if submission.cluster == 'slurm' else 'kill'} {job}"
            print_text(f"\njob {job} goes on: the same command waits for it, `{end}` ends it", to_errors=True)
        raise
    drop_ended_submission(spec.record)
    return outcomes


def drop_ended_submission(record: Path) -> None:
    """Delete the record of jobs, unless something of them still runs."""
    with submission_lock(record), suppress(SlurmSilentError):
        submission = read_submission(record)
        if submission and (submission.is_finished() or not submission.is_alive()):
            record.unlink()


def cancel_evaluations(record: Path) -> str:
    """End the evaluations on record, where they are alive, and return a message about it."""
    submission = read_submission(record)
    if submission and submission.job_id and end_submission(submission):
        return f"job {submission.job_id}: cancelled"
    return "no evaluation is under way"


def evaluation_request(experiment: Experiment, machine: Machine) -> JobRequest:
    """Return the request of an evaluation's job: that of a pretraining, on one node."""
    return machine.slurm.over(experiment.needs).model_copy(update={"nodes": 1})


def check_evaluation(call: Evaluation) -> None:
    """Raise the errors that a job would meet after its time in the queue, and download a remote checkpoint.

    InputError for a checkpoint that does not exist, and where no dataset can be measured; TransientError for
    a download that failed.
    """
    datasets = [
        (suite, dataset) for suite in call.suites for dataset in datasets_to_measure(suite, call.params)
    ]
    problems = [problem for problem in (missing_data(*pair, call) for pair in datasets) if problem]
    if len(problems) == len(datasets):
        raise InputError("\n".join(problems) or f"evaluate.{call.suites[0]}.datasets: empty; name some")
    if not isinstance(call.subject, OpenClipReference):
        call.subject.fetch(call.machine.cache_root)  # here, since a cluster's nodes may have no network


def datasets_to_measure(suite: SuiteName, params: Params) -> tuple[str, ...]:
    """Return the datasets that the parameters want a suite to measure."""
    datasets: tuple[str, ...] = getattr(params.evaluate, suite).datasets
    return datasets


def missing_data(suite: SuiteName, dataset: str, call: Evaluation) -> str:
    """Return the problem of a dataset that is missing, as far as that shows without opening it; or ""."""
    prepared = call.machine.data_root / call.params.data.name
    if suite == "retrieval" and dataset in PREPARED_SPLITS:
        try:
            Manifest.read(prepared / dataset)
        except (InputError, DamagedDataError) as error:
            return f"{suite} on {dataset}: {error}"
    elif dataset == "demo" and not is_dir(folder := prepared / "evaluation" / suite):
        return f"{suite} on {dataset}: {folder}: no such folder; `cosmos prepare` makes it"
    return ""


def evaluation_digest(calls: Sequence[Evaluation]) -> str:
    """Return a digest of code, data, checkpoints and parameters: calls with the same one share a job."""
    parts = [part for call in calls for part in evaluation_identity(call)]
    return sha256("\n".join([provenance.source_digest(), *parts]).encode()).hexdigest()[:16]


def evaluation_identity(call: Evaluation) -> list[str]:
    """Return texts that differ where the figures of a call may, without opening large files."""
    subject = call.subject
    stat = subject.path.stat() if isinstance(subject, FileReference) and is_file(subject.path) else None
    manifests = find_paths(call.machine.data_root / call.params.data.name, f"*/{MANIFEST_FILE}")
    return [
        *call.suites,
        call.params.model_dump_json(),
        str(call.path),
        f"{subject.text} {stat.st_size} {stat.st_mtime_ns}" if stat else subject.text,
        *(provenance.file_sha256(manifest) for manifest in manifests),
    ]
