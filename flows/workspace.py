"""Flows that run stages of a pipeline in the DVC workspace: prepare-data, pretrain, pipeline."""

from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger

from cosmos.config.machine import ClusterName
from cosmos.pipeline.dvc import STAGES, cancel_jobs
from flows.artifacts import show_cancelled_pretraining
from flows.labels import labelled_pipeline
from flows.parameters import (
    UNSET,
    Data,
    Evaluate,
    ExperimentName,
    Loss,
    Model,
    Pretrain,
    Slurm,
    Views,
    current_run_title,
)
from flows.stages import WORKSPACE, run_stages


def cancel_job(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the job of the pretraining that this flow run began; one that only waited has begun none."""
    of_this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    of_pretraining = TaskRunFilter(name=TaskRunFilterName(any_=["pretrain"]))
    with get_client(sync_client=True) as client:
        begun = client.read_task_runs(flow_run_filter=of_this_run, task_run_filter=of_pretraining)
    pipeline = labelled_pipeline(flow_run.id)
    if begun and pipeline:
        flow_run_logger(flow_run, flow).info(cancel_jobs(WORKSPACE, pipeline))
        show_cancelled_pretraining(flow_run.id, WORKSPACE, pipeline)


@flow(name="prepare-data", flow_run_name=current_run_title)
def prepare_data(experiment: ExperimentName = "", data: Data = UNSET) -> None:
    """Make the data of an experiment, on the machine of the worker.

    Nothing is made twice. Parameters left empty are those of the experiment and of params.yaml. Where none
    is set, the folder is pipeline/, or else one below pipelines/.

    Args:
        experiment: an overlay, by its name in experiments/, as of the last flow or `prefect deploy`; empty:
            the one that params.yaml names
        data: source of image-caption pairs

    """
    run_stages(["prepare"], experiment, {"data": data}, "debug", UNSET)


@flow(name="pretrain", flow_run_name=current_run_title, on_cancellation=[cancel_job])
def pretrain(
    experiment: ExperimentName = "",
    data: Data = UNSET,
    views: Views = UNSET,
    model: Model = UNSET,
    loss: Loss = UNSET,
    pretrain: Pretrain = UNSET,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
) -> None:
    """Make the data of an experiment, and pretrain on it.

    Nothing is made twice; a pretraining that was stopped goes on. Cancelling ends the job.
    Parameters left empty are those of the experiment, of params.yaml and of the machine. Where none of the
    experiment's is set, the folder is pipeline/, or else one below pipelines/.

    Args:
        experiment: an overlay, by its name in experiments/, as of the last flow or `prefect deploy`; empty:
            the one that params.yaml names
        data: source of image-caption pairs
        views: image and text crops
        model: architecture
        loss: objective
        pretrain: optimisation
        cluster: where it runs: as a Slurm job, as processes of their own on the worker's machine (local), or
            in the flow's own process tree (debug); auto: Slurm where one answers, or else debug
        slurm: resources that a job asks for

    """
    sections = {"data": data, "views": views, "model": model, "loss": loss, "pretrain": pretrain}
    run_stages(["prepare", "pretrain"], experiment, sections, cluster, slurm)


@flow(name="pipeline", flow_run_name=current_run_title, on_cancellation=[cancel_job])
def pipeline(
    experiment: ExperimentName = "",
    data: Data = UNSET,
    views: Views = UNSET,
    model: Model = UNSET,
    loss: Loss = UNSET,
    pretrain: Pretrain = UNSET,
    evaluate: Evaluate = UNSET,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
) -> None:
    """Run the stages of dvc.yaml: make the data, pretrain, evaluate by every suite, report.

    Nothing is made twice; a pretraining that was stopped goes on. Cancelling ends the job.
    Parameters left empty are those of the experiment, of params.yaml and of the machine. Where none of the
    experiment's is set, the folder is pipeline/, or else one below pipelines/.

    Args:
        experiment: an overlay, by its name in experiments/, as of the last flow or `prefect deploy`; empty:
            the one that params.yaml names
        data: source of image-caption pairs
        views: image and text crops
        model: architecture
        loss: objective
        pretrain: optimisation
        evaluate: zero-shot evaluation
        cluster: where pretraining and evaluations run: as Slurm jobs, as processes of their own on the
            worker's machine (local), or in the flow's own process tree (debug); auto: Slurm where one
            answers, or else debug
        slurm: resources that jobs ask for

    """
    sections = {"data": data, "views": views, "model": model, "loss": loss, "pretrain": pretrain}
    run_stages(STAGES, experiment, {**sections, "evaluate": evaluate}, cluster, slurm)
