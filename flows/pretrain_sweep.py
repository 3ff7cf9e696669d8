"""Flow pretrain-sweep: a search over parameters, its trials as jobs, each shown as a task."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.callables import get_call_parameters
from pydantic import NonNegativeInt

from cosmos.config.machine import ClusterName, Machine
from cosmos.config.section import NumTrials
from cosmos.config.sweep_loading import load_sweep
from cosmos.errors import CosmosError, summarize_error
from cosmos.pipeline.directory import PIPELINE
from cosmos.run.directory import RunDir
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.cancellation import cancel_sweep
from cosmos.search.conclusion import SweepConclusion
from cosmos.search.sweep_run import SweepRun, prepare_sweep_run
from cosmos.search.terminal_tables import describe_trial, format_values
from cosmos.tracking.note import MirrorNote
from flows.artifacts import TrialTable, show_cancelled_trials
from flows.forms import refresh_forms
from flows.parameters import UNSET, EarlierSweep, ExperimentName, Slurm, SweepName
from flows.retries import call_with_retries
from flows.sweep_report import create_sweep_report

Ending = SimpleQueue[TrialRecord | None]
"""Queue of one record: that of a trial which ended, or None where the sweep stopped before it did."""


def sweep_run_title() -> str:
    """Return a title for the flow run that is running."""
    parameters = this_run.parameters
    base = f" of {parameters['experiment']}" if parameters["experiment"] else ""
    return f"{parameters['sweep']}{base} on {parameters['cluster']}"


def cancel_trials(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the jobs of a sweep that was cancelled, unless they were to go on."""
    parameters = flow.validate_parameters(get_call_parameters(flow.fn, (), flow_run.parameters))
    if parameters.pop("cancel_jobs"):
        folder = prepare_sweep(**{**parameters, "like": ""}).folder
        ended = cancel_sweep(folder, quiet=True)
        flow_run_logger(flow_run, flow).info(f"jobs cancelled: {', '.join(ended['jobs']) or 'none'}")
        show_cancelled_trials(flow_run.id, folder)


def prepare_sweep(
    sweep: str,
    trials: int,
    experiment: str,
    parallel: int,
    data_root: Path,
    cluster: ClusterName,
    slurm: dict[str, Any],
    like: str,
) -> SweepRun:
    """Return the sweep, with the machine and the numbers that the parameters ask for."""
    machine = Machine(data_root=data_root, cluster=cluster, slurm=slurm)
    return prepare_sweep_run(load_sweep(sweep, experiment), machine, trials, parallel, like)


@task(name="trial", task_run_name="{name}, job {job}", cache_policy=NO_CACHE)
def trial(name: str, job: str, run: Path, ending: Ending) -> State[Any]:
    """Stand for a trial from when it begins or goes on until it pauses or ends, and end in that state."""
    record = ending.get()
    if record is None:
        return Cancelled(message="the sweep stopped; another run of it takes the trial on")
    facts = [
        record.problem,
        record.standing if record.state == "paused" else "",
        format_values(record.values),
        f"breaks {', '.join(record.breaches)}" if record.breaches else "",
        f"job {record.job}",
        MirrorNote.of(RunDir(run)).url,
    ]
    message = "; ".join(filter(None, facts))
    if record.state == "failed":
        return Failed(message=message)
    name = {"finished": "Completed", "pruned": "Pruned", "paused": "Paused"}[record.state]
    return Completed(name=name, message=message)


@flow(name="pretrain-sweep", flow_run_name=sweep_run_title, on_cancellation=[cancel_trials])
def pretrain_sweep(
    sweep: SweepName,
    trials: NumTrials = 0,
    experiment: ExperimentName = "",
    parallel: NonNegativeInt = 0,
    cancel_jobs: bool = True,
    data_root: Path = PIPELINE.data,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
    like: EarlierSweep = "",
) -> State[Any]:
    """Search parameters as a sweep's file says: trials as jobs, the best repeated with further seeds.

    Another run of the same sweep goes on from where it stands, and takes on trials that run.

    Args:
        sweep: the name of a file in experiments/sweeps/, as of the last flow or `prefect deploy`
        trials: trials in all that are to be begun, without those that fail; 0: as the file says
        experiment: the base, in place of the one that the file names
        parallel: trials at a time; 0: on Slurm as slurm.array_parallelism, here as the cores bear
        cancel_jobs: whether cancelling ends the jobs of trials; if not, they go on to their end
        data_root: folder of prepared datasets; a flow that prepares some names it in its artifact `data`
        cluster: where trials run: as Slurm jobs, or as processes of their own on the worker's machine
            (local); auto: Slurm where one answers, or else local
        slurm: resources that a job asks for
        like: an earlier sweep, by its id, name or path, whose best trials are tried first, where they fit;
            offered: those as of the last flow or `prefect deploy`

    """

    def conclude_sweep() -> SweepConclusion:
        sweep_run = prepare_sweep(sweep, trials, experiment, parallel, data_root, cluster, slurm, like)
        get_run_logger().info(sweep_run.introduction())
        lead_sweep(sweep_run)
        conclusion = sweep_run.conclude()
        report_sweep(sweep_run, conclusion)
        return conclusion

    conclusion = call_with_retries(conclude_sweep, get_run_logger().warning)
    refresh_forms()
    message = describe_conclusion(conclusion)
    return Completed(message=message) if conclusion.candidates else Failed(message=message)


def report_sweep(sweep_run: SweepRun, conclusion: SweepConclusion) -> None:
    """Show the report of a sweep; one that cannot be written fails no sweep that is done."""
    try:
        create_sweep_report(sweep_run, conclusion)
    except (httpx.HTTPError, CosmosError, OSError) as error:
        get_run_logger().warning("no report of the sweep: %s", summarize_error(error))


def describe_conclusion(conclusion: SweepConclusion) -> str:
    """Return the verdict of a sweep, and the leader's figures and experiment where there is one."""
    remarks = [*conclusion.kept, *conclusion.problems]
    if not conclusion.run:
        return "; ".join([conclusion.verdict, *remarks])
    figures = format_values(conclusion.candidates[0].figures)
    experiment = f"experiment: {conclusion.overlay or 'not written'}"
    return "; ".join([conclusion.verdict, figures, *remarks, experiment])


def lead_sweep(sweep_run: SweepRun) -> None:
    """Lead the sweep through its trials, with a task for each and a table of all."""
    table, waiting = TrialTable(sweep_run.folder), dict[str, Ending]()
    try:
        for record in sweep_run.trials():
            get_run_logger().info(describe_trial(record))
            if record.state != "running":
                waiting.pop(record.name).put(record)
            elif record.name not in waiting:
                waiting[record.name] = SimpleQueue()
                path = sweep_run.folder.run(record).path
                trial.submit(record.name, record.job, path, waiting[record.name])
            table.update()
    finally:
        for ending in waiting.values():
            ending.put(None)
