"""Evaluations where the machine says: in this process, or as jobs; one, or checkpoints by suites.

Nothing here imports torch.
"""

import logging
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from traceback import format_exception_only
from typing import Any

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import Experiment
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.errors import InputError
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.once import launch
from cosmos.launch.outcome import CallFailure, CallOutcome
from cosmos.launch.slurm import SlurmSilentError
from cosmos.launch.submission import JobSpec, read_submission, submission_lock
from cosmos.launch.watch import ShowText
from cosmos.model.checkpoint_reference import (
    CheckpointReference,
    FileReference,
    OpenClipReference,
    checkpoint_to_evaluate,
    parse_checkpoint_reference,
)
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.results import ResultFigures, overall_figures
from cosmos.stages.evaluation_result import Evaluated, publish
from cosmos.stages.pretrain_job import delivered, end
from cosmos.stages.pretrain_job import show as print_log
from cosmos.tracking.mirror import mirroring

logger = logging.getLogger(__name__)

SWEEPS = "evaluations"
"""Folder of runs_root for evaluations of several runs: the record of their jobs, and what these leave."""

SPLITS = ("heldout", "train")
"""Datasets of retrieval that are splits of the prepared dataset."""


@dataclass(frozen=True)
class Evaluation:
    """The stage call that a job gets: suites measure one checkpoint. torch is imported where it runs."""

    suites: tuple[SuiteName, ...]
    params: Params
    machine: Machine
    path: Path
    """the run directory that results go to"""
    checkpoint: str
    """"": the run's newest"""
    quiet: bool = False

    def __call__(self) -> dict[str, Any]:
        """Runs the stage; returns the fields of Evaluated."""
        from cosmos.stages.evaluate import evaluate

        with mirroring(RunDir(self.path), self.machine.wandb):
            return asdict(
                evaluate(self.suites, self.params, self.machine, self.path, self.checkpoint, self.quiet)
            )

    @property
    def subject(self) -> CheckpointReference:
        """Reference of the checkpoint. InputError where the run has none."""
        return checkpoint_to_evaluate(RunDir(self.path), self.checkpoint)


def launch_evaluation(
    names: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    path: Path,
    checkpoint: str,
    quiet: bool,
) -> Evaluated:
    """Evaluates where the machine says: in this process, or as a job that is waited for; see `evaluate`.

    Raises ValueError with what the job's failing rank said, where it failed.
    """
    call = Evaluation(tuple(names), experiment.params, machine, path, checkpoint, quiet)
    cluster = resolve_cluster(machine.cluster)
    if cluster == "debug":
        return Evaluated(**call())
    check_before_queue(call)
    folder = RunDir(path).jobs
    spec = JobSpec(
        [replace(call, quiet=False)],
        request_of(experiment, machine),
        cluster,
        folder / f"evaluate-{digest([call])}.json",
        folder,
        f"evaluate-{path.name}",
    )
    (outcome,) = run_once(spec, partial(print_log, quiet=quiet))
    return Evaluated(**delivered(outcome))


def evaluate_into(
    output: Path,
    names: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    path: Path,
    checkpoint: str,
    quiet: bool,
) -> Evaluated:
    """Evaluates, and puts the results of this evaluation alone into `output`, in place of what was there.

    `output` stays as it was where not everything was measured. Raises what `launch_evaluation` raises.
    """
    evaluated = launch_evaluation(names, experiment, machine, path, checkpoint, quiet)
    if evaluated.is_first and not evaluated.problems:
        publish(evaluated, RunDir(path), checkpoint, output)
        print_log(f"output: {output}\n", quiet)
    return evaluated


Asked = tuple[str, SuiteName]
"""A checkpoint, as it was asked for, and a suite."""


@dataclass(frozen=True)
class Row:
    """A model of a checkpoint on a dataset; or, without these two, why something was not measured."""

    checkpoint: str
    """as it was asked for"""
    suite: SuiteName
    dataset: str = ""
    model: str = ""
    figures: ResultFigures = field(default_factory=dict)
    """metrics by name, those of single classes left out"""
    problem: str = ""


def evaluate_many(
    checkpoints: Sequence[str],
    suites: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    show: ShowText,
) -> list[Row]:
    """Measures every checkpoint by every suite: as an array of jobs, or one after the other in this process.

    A checkpoint is whatever `cosmos evaluate --checkpoint` takes, or a run, by name or directory: its newest.
    What fails keeps nothing else from being measured. The same call again waits for jobs that still run, and
    measures nothing twice. Raises ValueError where the cluster refuses the jobs or does not answer.
    """
    calls, ended = sorted_out(checkpoints, suites, experiment, machine)
    asked = product(dict.fromkeys(checkpoints), dict.fromkeys(suites))
    cluster = resolve_cluster(machine.cluster)
    if cluster == "debug":
        found = [in_this_process(call, show) for call in calls.values()]
    else:
        found = as_jobs(list(calls.values()), request_of(experiment, machine), cluster, machine, show)
    ended |= zip(calls, found, strict=True)
    return [row for one in asked for row in rows(one, ended[one])]


def cancel_many(
    checkpoints: Sequence[str], suites: Sequence[SuiteName], experiment: Experiment, machine: Machine
) -> str:
    """Ends the jobs that `evaluate_many` has for the same; says what was done. What is measured stays."""
    calls, _ = sorted_out(checkpoints, suites, experiment, machine)
    return cancel_on_record(sweep_record(list(calls.values()), machine))


def cancel_on_record(record: Path) -> str:
    """Ends the evaluations on record, where they are alive; says what was done."""
    known = read_submission(record)
    if known and known.job_id and end(known):
        return f"job {known.job_id}: cancelled"
    return "no evaluation is under way"


def sorted_out(
    checkpoints: Sequence[str], suites: Sequence[SuiteName], experiment: Experiment, machine: Machine
) -> tuple[dict[Asked, Evaluation], dict[Asked, Evaluated]]:
    """The calls that measure what is asked for, and the problems of what cannot be."""
    calls, ended = dict[Asked, Evaluation](), dict[Asked, Evaluated]()
    for one in product(dict.fromkeys(checkpoints), dict.fromkeys(suites)):
        try:
            calls[one] = ready(one, experiment, machine)
        except ValueError as error:
            ended[one] = unmeasured(str(error))
    return calls, ended


def sweep_record(calls: Sequence[Evaluation], machine: Machine) -> Path:
    """Where the jobs of these calls are on record."""
    return machine.runs_root / SWEEPS / f"{digest(calls)}.json"


def ready(asked: Asked, experiment: Experiment, machine: Machine) -> Evaluation:
    """The call that measures what was asked. ValueError where that shows already not to be possible."""
    checkpoint, suite = asked
    path, name = find_subject(checkpoint, machine)
    call = Evaluation((suite,), experiment.params, machine, path, name, quiet=True)
    check_before_queue(call)
    return call


def request_of(experiment: Experiment, machine: Machine) -> JobRequest:
    """What an evaluation asks for: what a pretraining does, on one node."""
    return machine.slurm.over(experiment.needs).model_copy(update={"nodes": 1})


def find_subject(name: str, machine: Machine) -> tuple[Path, str]:
    """Where results of what a person calls `name` go, and the checkpoint there ("": the newest of that run).

    Raises ValueError for what is neither a file, nor a run, nor a name that tells where it comes from.
    """
    for path in (Path(name).expanduser(), machine.runs_root / name):
        if RunDir(path).checkpoints.is_dir():
            return path, ""
    reference = parse_checkpoint_reference(name)
    if isinstance(reference, FileReference) and not reference.path.is_file():
        runs = sorted(folder.parent.name for folder in machine.runs_root.glob("*/checkpoints"))
        there = f"there are {', '.join(runs)}" if runs else "there is none"
        raise InputError(f"{name}: no checkpoint's file, and no run in {machine.runs_root}: {there}")
    return machine.runs_root / reference.label, name


def check_before_queue(call: Evaluation) -> None:
    """Finds now what a job would find after its time in the queue, and downloads what has to be.

    Raises ValueError for a checkpoint that is not there, and where no dataset can be.
    """
    wanted = [(suite, dataset) for suite in call.suites for dataset in datasets_of(suite, call.params)]
    problems = [problem for problem in (lack(*one, call) for one in wanted) if problem]
    if len(problems) == len(wanted):
        raise InputError("\n".join(problems) or f"evaluate.{call.suites[0]}.datasets: empty; name some")
    if not isinstance(call.subject, OpenClipReference):
        call.subject.fetch(call.machine.cache_root)  # here, since a cluster's nodes may have no network


def datasets_of(suite: SuiteName, params: Params) -> tuple[str, ...]:
    """The datasets that the parameters want a suite to measure."""
    datasets: tuple[str, ...] = getattr(params.evaluate, suite).datasets
    return datasets


def lack(suite: SuiteName, dataset: str, call: Evaluation) -> str:
    """What a dataset lacks, as far as that shows without opening it; "" where nothing does."""
    prepared = call.machine.data_root / call.params.data.name
    if suite == "retrieval" and dataset in SPLITS:
        try:
            Manifest.read(prepared / dataset)
        except ValueError as error:
            return f"{suite} on {dataset}: {error}"
    elif dataset == "demo" and not (folder := prepared / "evaluation" / suite).is_dir():
        return f"{suite} on {dataset}: {folder}: no such folder; `cosmos prepare` makes it"
    return ""


def digest(calls: Sequence[Evaluation]) -> str:
    """Differs once what is measured or how is another: what has the same digest needs no second job."""
    parts = [part for call in calls for part in identity(call)]
    return sha256("\n".join([provenance.source_digest(), *parts]).encode()).hexdigest()[:16]


def identity(call: Evaluation) -> list[str]:
    """What decides the figures of a call, as far as that shows without opening large files."""
    subject = call.subject
    stat = subject.path.stat() if isinstance(subject, FileReference) and subject.path.is_file() else None
    manifests = sorted((call.machine.data_root / call.params.data.name).glob(f"*/{MANIFEST_FILE}"))
    return [
        *call.suites,
        call.params.model_dump_json(),
        str(call.path),
        f"{subject.text} {stat.st_size} {stat.st_mtime_ns}" if stat else subject.text,
        *(provenance.file_sha256(manifest) for manifest in manifests),
    ]


def run_once(spec: JobSpec, show: ShowText) -> list[CallOutcome]:
    """Launch jobs, or wait for those that were launched; Ctrl-C leaves them running.

    Once they have ended they are off the record: results files say what is measured already.
    """
    try:
        outcomes = launch(spec, show)
    except KeyboardInterrupt:
        if left := read_submission(spec.record):
            end = f"{'scancel' if spec.cluster == 'slurm' else 'kill'} {left.job_id}"
            print(
                f"\njob {left.job_id} goes on: the same command waits for it, `{end}` ends it",
                file=sys.stderr,
            )
        raise
    forget(spec.record)
    return outcomes


def forget(record: Path) -> None:
    """Takes jobs off the record, unless something of them still runs."""
    with submission_lock(record), suppress(SlurmSilentError):
        known = read_submission(record)
        if known and (known.is_finished() or not known.is_alive()):
            record.unlink()


def as_jobs(
    calls: Sequence[Evaluation], request: JobRequest, cluster: ClusterName, machine: Machine, show: ShowText
) -> list[Evaluated]:
    """How each of the calls ended, as an array of jobs."""
    if not calls:
        return []
    record = sweep_record(calls, machine)
    outcomes = run_once(JobSpec(calls, request, cluster, record, record.parent, "evaluate"), show)
    return [unmeasured(in_short(o.failure)) if o.failure else Evaluated(**o.value) for o in outcomes]


def in_this_process(call: Evaluation, show: ShowText) -> Evaluated:
    """How a call ended that runs now. What stops it is a problem, and stops no other."""
    show(f"{call.checkpoint or call.path}: {', '.join(call.suites)}\n")
    try:
        return Evaluated(**call())
    except Exception as error:
        logger.debug("an evaluation failed", exc_info=error)
        return unmeasured(in_words(format_exception_only(error)))


def unmeasured(problem: str) -> Evaluated:
    """An evaluation that measured nothing."""
    return Evaluated({}, [problem], True)


def in_short(failure: CallFailure) -> str:
    """Why a job has no value: what its first failing rank said last, or its cause."""
    if not failure.rank:
        return f"job {failure.job_id}: {failure.cause}; log: {failure.log}"
    named = re.compile(rf"^[\w.]*{re.escape(failure.rank.error)}\b", re.MULTILINE)
    start = max((found.start() for found in named.finditer(failure.rank.traceback)), default=0)
    return f"{in_words([failure.rank.traceback[start:]])} (job {failure.job_id}; log: {failure.log})"


def in_words(lines: Sequence[str]) -> str:
    """The end of a traceback, for a person; the kind of what users can mend tells them nothing."""
    return "".join(lines).strip().removeprefix("ValueError: ")


def rows(asked: Asked, evaluated: Evaluated) -> list[Row]:
    """What a table says of one checkpoint and suite."""
    checkpoint, suite = asked
    measured = [
        Row(checkpoint, suite, dataset, model, overall_figures(figures))
        for dataset, entry in evaluated.results.get(suite, {}).items()
        for model, figures in entry["models"].items()
    ]
    return measured + [Row(checkpoint, suite, problem=problem) for problem in evaluated.problems]
