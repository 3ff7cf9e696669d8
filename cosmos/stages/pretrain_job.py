"""Pretraining where the machine says: in this process, or as a job that is waited for.

Nothing here imports torch, so that submitting takes no longer than the scheduler's answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.experiment import Experiment
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.config.settings_file import dump_settings
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.order import batch_per_rank
from cosmos.distributed.environment import is_first_process
from cosmos.errors import InputError
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.once import attachable_submission, outcome_with_resubmissions
from cosmos.launch.outcome import CallFailure, CallOutcome
from cosmos.launch.sbatch import sbatch_script
from cosmos.launch.submission import JobSpec, submission_lock, submit_job
from cosmos.run.dataset_version import DatasetVersion
from cosmos.run.directory import RunDir, open_run
from cosmos.run.labels import RunLabels
from cosmos.stages.jobs import attach_or_cancel, attachable_job, follow_job, name_of_run, print_job_log
from cosmos.stages.plan import heed_plan, plan_pretraining
from cosmos.stages.run_opening import open_run_on, params_to_record, read_dataset_version
from cosmos.tracking.mirror import mirroring
from cosmos.training.step_plan import StepPlan, describe_plan


@dataclass(frozen=True)
class PretrainSummary:
    """Summary of a pretraining, as its job returns it."""

    run: str
    checkpoint: str
    steps: int


@dataclass(frozen=True)
class Pretraining:
    """Stage call of a job: pretrains a run. torch is imported where it runs."""

    params: Params
    machine: Machine
    path: Path
    dataset: DatasetVersion
    quiet: bool = False

    def __call__(self) -> dict[str, Any]:
        """Run the stage, and return its summary."""
        from cosmos.stages.pretrain import pretrain

        with mirroring(RunDir(self.path), self.machine.wandb):
            return pretrain(self.params, self.machine, self.path, self.dataset, self.quiet)


def launch_pretraining(experiment: Experiment, machine: Machine, path: Path, quiet: bool) -> dict[str, Any]:
    """Pretrain where the machine says: in this process, or as a job that is waited for.

    A job that a disk, the network or the scheduler ended is submitted again, and goes on from its save. Where
    it failed for good, raises an error of the failing rank's class, with its message.
    """
    path = path.absolute()
    run, cluster = RunDir(path), resolve_cluster(machine.cluster)
    dataset = read_dataset_version(experiment.params, machine)
    request = machine.slurm.over(experiment.needs)
    machine = machine.model_copy(update={"slurm": request})
    if cluster == "debug":
        refuse_beside_job(run, machine)
        return Pretraining(experiment.params, machine, path, dataset, quiet)()
    call = Pretraining(experiment.params, machine, path, dataset)
    spec = JobSpec([call], request, cluster, run.job, f"cosmos-{path.name}")

    def check() -> None:
        heed_plan(experiment, machine, cluster, path)

    def attempt(ended: CallFailure | None) -> list[CallOutcome]:
        return [submit_and_follow(spec, call, quiet, ended, check)]

    outcome = outcome_with_resubmissions(attempt, request.max_requeues, partial(print_job_log, quiet=quiet))
    return asdict(outcome.result_as(PretrainSummary))


def submit_and_follow(
    spec: JobSpec,
    call: Pretraining,
    quiet: bool,
    ended: CallFailure | None,
    check: Callable[[], None] = lambda: None,
) -> CallOutcome:
    """Submit the job of a pretraining, or attach to it as of `attachable_submission`, and wait.

    `check` is called before the first submission, and before the run directory is made for its parameters.
    """
    run = RunDir(call.path)
    with submission_lock(run.job):
        attached = attachable_submission(run.job, ended)
        if not attached and ended is None:
            check()
        open_run_on(call.dataset, call.path, call.params)
        if not attached:
            batch_per_rank(call.params.pretrain.batch_size, spec.request.num_ranks)
        submission = attached or submit_job(spec.after(ended))
    action = "attached" if attached else "submitted"
    print_job_log(f"job {submission.job_id}: {action}; {submission.folder}\n", quiet)
    return follow_job(submission, name_of_run(run, call.machine), quiet, from_start=not attached)


def refuse_beside_job(run: RunDir, machine: Machine) -> None:
    """Raise InputError where a job trains this run already.

    Raises SlurmSilentError where Slurm does not answer.
    """
    submission = attachable_job(run)
    if submission and not submission.is_finished():
        ways = attach_or_cancel(name_of_run(run, machine))
        raise InputError(f"job {submission.job_id} trains {run.path}; {ways}")


def tag_run(path: Path, params: Params, tags: Iterable[str]) -> None:
    """Give the run of a pretraining these tags in place of those that it had; the rest of its labels stays.

    Raises InputError where another pretraining lives there, and DamagedDataError for damaged labels.
    """
    if not is_first_process():
        return
    run = open_run(path, params)
    words = dict.fromkeys(word.strip() for word in tags if word.strip())
    replace(RunLabels.of(run), tags=tuple(words)).write(run)


def show_dry_run(experiment: Experiment, machine: Machine, path: Path, quiet: bool) -> dict[str, Any]:
    """Return, and print unless `quiet`, parameters, plan, request and the script that sbatch would get.

    Nothing is written or submitted.
    """
    request = machine.slurm.over(experiment.needs)
    folder = RunDir(path.absolute()).jobs / "TOKEN"
    params = params_to_record(experiment.params, machine).model_dump(mode="json")
    script = sbatch_script(request, f"cosmos-{path.name}-TOKEN", folder)
    plan = plan_on_prepared_data(experiment, machine)
    if not quiet:
        print_text(f"# {path / 'params.yaml'}\n{dump_settings(params)}")
        print_text("".join(f"# {line}\n" for line in plan))
        print_text(f"# what sbatch gets (TOKEN: eight letters and digits of the submission)\n{script}")
    request_values = request.model_dump(mode="json")
    return {"run": str(path), "params": params, "plan": plan, "request": request_values, "script": script}


def plan_on_prepared_data(experiment: Experiment, machine: Machine) -> list[str]:
    """Return the plan of a pretraining in lines, with its problems; [] until its data is prepared."""
    pretrain = experiment.params.pretrain
    if not exists(machine.dataset(experiment.params.data.name, "train") / MANIFEST_FILE):
        return []
    planned = plan_pretraining(experiment, machine)
    problems = [str(problem) for problem in planned.problems]
    if not planned.plan.steps.total:
        return problems
    plan = StepPlan.of(planned.plan.steps.per_epoch, pretrain.epochs)
    return [describe_plan(plan, planned.workload.data.num_samples, pretrain), *problems]
