"""The flow pretrain-sweep: a search over parameters, its trials as jobs, each to be seen as a task."""

from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.callables import get_call_parameters
from pydantic import Field, NonNegativeInt

from cosmos.config.machine import ClusterName, Machine
from cosmos.config.sweep_loading import load_sweep
from cosmos.pipeline import dvc as pipeline
from cosmos.registry.sweep_directory import TrialRecord
from cosmos.run.directory import RunDir
from cosmos.search.sweep_run import SweepRun, cancel_sweep, prepare_sweep_run
from cosmos.search.terminal_tables import describe_trial, format_values
from cosmos.tracking.note import MirrorNote
from flows.parameters import UNSET, Slurm
from flows.shown import TrialTable

SweepName = Annotated[str, Field(min_length=1)]

Ending = SimpleQueue[TrialRecord | None]
"""How a trial ended; None where the sweep stopped before it did."""


def run_title() -> str:
    """A name for the flow run that is running."""
    said = this_run.parameters
    of = [said["sweep"], *([f"of {said['experiment']}"] if said["experiment"] else [])]
    return " ".join([*of, "on", said["cluster"]])


def end_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Ends the jobs of a sweep that was cancelled, unless they were to go on."""
    said = flow.validate_parameters(get_call_parameters(flow.fn, (), flow_run.parameters))
    if said["cancel_jobs"]:
        sweeping = asked_for(**{name: value for name, value in said.items() if name != "cancel_jobs"})
        ended = cancel_sweep(sweeping.folder, quiet=True)
        flow_run_logger(flow_run, flow).info(f"jobs cancelled: {', '.join(ended['jobs']) or 'none'}")


def asked_for(
    sweep: str,
    trials: int,
    experiment: str,
    parallel: int,
    data_root: Path,
    cluster: ClusterName,
    slurm: dict[str, Any],
) -> SweepRun:
    """The sweep, where and how it was asked for."""
    machine = Machine(data_root=data_root, cluster=cluster, slurm=slurm)
    return prepare_sweep_run(load_sweep(sweep, experiment), machine, trials, parallel)


@task(name="trial", task_run_name="{name}, job {job}", cache_policy=NO_CACHE)
def trial(name: str, job: str, run: Path, ending: Ending) -> State[Any]:
    """Stands for a trial from when it begins until it ends; then says what it came to."""
    ended = ending.get()
    if ended is None:
        return Cancelled(message="the sweep stopped; another run of it takes the trial on")
    told = [
        ended.problem or format_values(ended.values),
        f"job {ended.job}",
        MirrorNote.of(RunDir(run)).url,
    ]
    message = "; ".join(filter(None, told))
    if ended.state == "failed":
        return Failed(message=message)
    name = {"finished": "Completed", "pruned": "Pruned"}[ended.state]
    return Completed(name=name, message=message)


@flow(name="pretrain-sweep", flow_run_name=run_title, on_cancellation=[end_jobs])
def pretrain_sweep(
    sweep: SweepName,
    trials: NonNegativeInt = 0,
    experiment: str = "",
    parallel: NonNegativeInt = 0,
    cancel_jobs: bool = True,
    data_root: Path = pipeline.PIPELINE.data,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
) -> State[Any]:
    """Searches parameters as a sweep's file says: trials as jobs, the best repeated with further seeds.

    Another run of the same sweep goes on from where it stands, and takes on trials that run.

    Args:
        sweep: the name of a file in experiments/sweeps/
        trials: trials in all that are to finish or be pruned; 0: as the file says
        experiment: the base, in place of the one that the file names
        parallel: trials at a time; 0: on Slurm as slurm.array_parallelism, here as the cores bear
        cancel_jobs: whether cancelling ends the jobs of trials; if not, they go on to their end
        data_root: folder of prepared datasets; pipeline/data is that of the other flows
        cluster: where trials run: as Slurm jobs, or as processes of their own on the worker's machine
            (local); auto: Slurm where one answers, or else local
        slurm: what a job asks for

    """
    sweeping = asked_for(sweep, trials, experiment, parallel, data_root, cluster, slurm)
    lead(sweeping)
    found = sweeping.conclude()
    if not found.candidates:
        return Failed(message="no trial finished")
    best = found.candidates[0]
    figures = format_values(best.figures)
    return Completed(message=f"trial {best.number}: {figures}; experiment: {found.overlay}")


def lead(sweeping: SweepRun) -> None:
    """Takes the sweep through its trials: a task for each, and a table of all."""
    table, waiting = TrialTable(sweeping.folder), dict[str, Ending]()
    try:
        for one in sweeping.trials():
            get_run_logger().info(describe_trial(one))
            if one.state != "running":
                waiting.pop(one.name).put(one)
            elif one.name not in waiting:
                waiting[one.name] = SimpleQueue()
                trial.submit(one.name, one.job, sweeping.folder.run(one).path, waiting[one.name])
            table.update()
    finally:
        for ending in waiting.values():
            ending.put(None)
