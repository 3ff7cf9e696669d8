"""Labels of flow runs: the folder of the pipeline that a run works in, for who acts on the run later."""

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run as this_run

from cosmos.pipeline.directory import PipelineDir

PIPELINE_LABEL = "cosmos.pipeline"


def label_flow_run(pipeline: PipelineDir) -> None:
    """Label the flow run that is running with the folder of its pipeline."""
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(this_run.id), {PIPELINE_LABEL: str(pipeline.folder)})


def labelled_pipeline(flow_run_id: UUID) -> PipelineDir | None:
    """Return the pipeline of a flow run; None where it has not begun to work in any."""
    with get_client(sync_client=True) as client:
        folder = client.read_flow_run(flow_run_id).labels.get(PIPELINE_LABEL)
    return PipelineDir(Path(str(folder))) if folder else None
