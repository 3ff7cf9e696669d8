"""Run of a sweep: its preparation, its trials, its conclusion, its cancellation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import SecretStr

from cosmos.config.disk_reading import exists
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.printable_text import cosmos_command
from cosmos.config.sweep import Sweep
from cosmos.data.order import batch_per_rank
from cosmos.distributed.cores import usable_cores
from cosmos.errors import InputError
from cosmos.launch.clusters import resolve_cluster
from cosmos.registry.sweep_difference import describe_origin, explain_new_sweep, newest_of_name
from cosmos.run.dataset_version import DatasetVersion
from cosmos.run.directory import run_path
from cosmos.run.earlier_trials import EarlierTrials
from cosmos.run.files import write_json
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.conclusion import SweepConclusion, conclude_sweep
from cosmos.search.controller import Controller
from cosmos.search.earlier_sweep import describe_earlier, read_earlier_trials
from cosmos.search.objectives import check_objectives
from cosmos.search.study import parameter_importances
from cosmos.search.study_of_records import study_of_records
from cosmos.search.study_storage import open_study, storage_errors_explained
from cosmos.search.trial_fit import requested_gpu
from cosmos.search.trial_forecast import describe_forecast
from cosmos.search.trial_jobs import TrialJobs
from cosmos.stages.run_opening import read_dataset_version


@dataclass(frozen=True)
class SweepRun:
    """Sweep, with its directory, the jobs that its trials run as, and their number."""

    sweep: Sweep
    folder: SweepDir
    machine: Machine
    jobs: TrialJobs
    parallel: int
    """number of trials at a time"""
    num_trials: int
    """number of trials that are to be begun, without those that fail"""
    earlier: EarlierTrials
    """trials of earlier sweeps to begin with"""

    def introduction(self) -> str:
        """Return lines on a sweep's directory, base, data, time, first trials, and what sweep it is not."""
        head = f"{self.folder.path}: {describe_origin(self.sweep)}; {self.parallel} at a time"
        forecast = describe_forecast(self.sweep, self.machine, self.num_trials)
        new = explain_new_sweep(self.sweep, self.folder)
        lines = [head, forecast, *describe_earlier(self.earlier), new]
        return "\n".join(filter(None, lines))

    def trials(self) -> Iterator[TrialRecord]:
        """Search, then repeat the best with further seeds; yield each trial as it begins, pauses and ends.

        A sweep that was stopped continues; trials that run go on when this is stopped. Raises InputError
        where trials cannot begin or would lack an objective, CosmosError where most of them fail,
        TransientError where the study's storage does not answer, or trials wait for the next start, and
        SupersededError when another process takes over.
        """
        from cosmos.tracking.mirror import mirroring

        if is_new := not exists(self.folder.definition):
            check_objectives(self.sweep, self.machine)
        self.folder.write_definition(self.sweep)
        RunLabels(self.sweep.id, "search", (self.sweep.name,)).write(self.folder.own)
        with (
            mirroring(self.folder.own, self.machine.wandb),
            storage_errors_explained(self.folder.path.name),
        ):
            lease = Lease.take(self.folder.own)  # before the study is opened: another one writes no more
            if self.earlier.trials:
                self.earlier.write(self.folder.like)
            study = open_study(self.sweep, self.folder, self.machine)
            controller = Controller(self.sweep, self.folder, study, self.jobs, self.parallel, lease)
            if not is_new and controller.has_trials_left(self.num_trials):
                check_objectives(self.sweep, self.machine)
            yield from controller.search(self.num_trials)
            yield from controller.repeat()

    def conclude(self) -> SweepConclusion:
        """Return the conclusion of the sweep's trials so far, and write it."""
        study = study_of_records(self.sweep, self.folder)
        figures = [objective.figure for objective in self.sweep.file.objectives]
        conclusion = conclude_sweep(self.sweep, self.folder, parameter_importances(study, figures))
        write_json(self.folder.best, conclusion.as_json())
        return conclusion


def prepare_sweep_run(
    sweep: Sweep, machine: Machine, num_trials: int, parallel: int, like: str = ""
) -> SweepRun:
    """Return a sweep ready to run; 0 trials: as many as its file has, 0 in parallel: as many as cores allow.

    `like`: an earlier sweep, with whose best trials it begins. InputError where there is no such sweep, the
    data is not prepared, or a trial does not fit the job that is asked for.
    """
    request = machine.slurm.over(sweep.needs)
    dataset = read_dataset_of_sweep(sweep, machine)
    batch_per_rank(sweep.base.pretrain.batch_size, request.num_ranks)
    sweep = replace(sweep, data=dataset.sha256)
    gpu = requested_gpu(request, machine) if machine.slurm.gpu_kind else None
    cluster = sweep_cluster(machine)
    if cluster == "slurm":
        at_a_time = parallel or request.array_parallelism
    else:
        at_a_time = parallel or num_parallel_trials(request.cpus_per_task)
        request = share_cores(request, at_a_time)
    folder = SweepDir(run_path(machine.runs_root.absolute(), sweep.id, "the name of the sweep's file"))
    return SweepRun(
        sweep,
        folder,
        machine,
        TrialJobs(trial_machine(machine, request), cluster, request, tuple(sweep.suites), dataset, gpu=gpu),
        at_a_time,
        num_trials or sweep.file.trials,
        read_earlier_trials(sweep, folder, like),
    )


def read_dataset_of_sweep(sweep: Sweep, machine: Machine) -> DatasetVersion:
    """Return the version of a sweep's data; where it is not there, name the sweep whose results are kept."""
    try:
        return read_dataset_version(sweep.base, machine)
    except InputError as error:
        newest = newest_of_name(sweep.name, SweepDir(machine.runs_root / sweep.name))
        if newest is None:
            raise
        command = cosmos_command("compare", newest.path.name)
        remark = f"the results of {newest.path} are there without it: `{command}`"
        raise InputError(f"{error}; {remark}") from None


def sweep_cluster(machine: Machine) -> ClusterName:
    """Return the cluster of a sweep's trials: never this process, unless the setting names it (debug).

    A trial in this process can be neither pruned nor run beside another.
    """
    cluster = resolve_cluster(machine.cluster)
    return "local" if cluster == "debug" and machine.cluster == "auto" else cluster


def num_parallel_trials(cores: int) -> int:
    """Return the number of trials of `cores` cores each that this process may run at a time, at least 1."""
    return max(1, usable_cores() // cores)


def share_cores(request: JobRequest, parallel: int) -> JobRequest:
    """Return the request of a trial with its share of the usable cores among `parallel` trials.

    More threads than cores would slow all trials down.
    """
    share = max(1, usable_cores() // (parallel * request.ranks_per_node))
    return request.model_copy(update={"cpus_per_task": min(request.cpus_per_task, share)})


def trial_machine(machine: Machine, request: JobRequest) -> Machine:
    """Return the settings of a trial's job with a request: no password of the study, one checkpoint kept."""
    return machine.model_copy(
        update={
            "slurm": request,
            "study_storage": SecretStr(""),
            "keep_checkpoints": 1,
            "runs_root": machine.runs_root.absolute(),
            "data_root": machine.data_root.absolute(),
        }
    )
