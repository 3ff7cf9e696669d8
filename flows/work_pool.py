"""Work pool on the Prefect server: its queues, its worker, and flow runs whose process is gone."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]

END_SECONDS = 60


def create_work_pool(name: str, queues: Mapping[str, int]) -> None:
    """Create the pool and its queues, each with the number of flow runs that may run at a time."""
    template = ProcessWorker.get_default_base_job_template()
    wanted = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template, is_paused=False)
    with get_client(sync_client=True) as client:
        client.create_work_pool(wanted, overwrite=True)
        ids = {queue.name: queue.id for queue in client.read_work_queues(work_pool_name=name)}
        for queue in queues.keys() - ids.keys():
            ids[queue] = client.create_work_queue(name=queue, work_pool_name=name).id
        for queue, limit in queues.items():
            client.update_work_queue(ids[queue], concurrency_limit=limit)


def has_worker(name: str, since: datetime) -> bool:
    """Return True when a worker has asked for flow runs of the pool since then."""
    with get_client(sync_client=True) as client:
        workers = client.read_workers_for_work_pool(work_pool_name=name)
    return any(worker.last_heartbeat_time and worker.last_heartbeat_time > since for worker in workers)


def mark_orphans_crashed(name: str, is_orphan: Callable[[FlowRun], bool]) -> None:
    """Mark flow runs whose process is gone as crashed: their queue would count them for ever."""
    with get_client(sync_client=True) as client:
        for run in filter(is_orphan, read_unfinished_runs(client, name)):
            crashed: State[Any] = Crashed(message="its process is gone, and its worker has not said why")
            client.set_flow_run_state(run.id, crashed, force=True)


def end_flow_runs(name: str) -> None:
    """Pause the pool, and have its flow runs clean up and end; their jobs go on."""
    with get_client(sync_client=True) as client:
        client.update_work_pool(name, WorkPoolUpdate(is_paused=True))
        runs = [run for run in read_unfinished_runs(client, name) if has_process(run)]
    for run in runs:
        with suppress(ProcessLookupError):
            os.kill(process_id(run), signal.SIGTERM)
    end = time.monotonic() + END_SECONDS
    while any(map(has_process, runs)) and time.monotonic() < end:
        time.sleep(0.2)


def read_unfinished_runs(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """Return the flow runs of the pool that have begun and, for the server, have not ended."""
    begun = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED)))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    return client.read_flow_runs(flow_run_filter=begun, work_pool_filter=in_pool)


def has_process(run: FlowRun) -> bool:
    """Return True when the process of a flow run lives.

    Its id may be that of any other process by now: Prefect names the flow run in its environment.
    """
    try:
        environment = Path(f"/proc/{process_id(run)}/environ").read_bytes()
    except (ValueError, OSError):  # another user's cannot be read
        return False
    return f"PREFECT__FLOW_RUN_ID={run.id}".encode() in environment.split(b"\0")


def has_lost_process(run: FlowRun) -> bool:
    """Return True when the process of a flow run has begun, and is gone."""
    return bool(run.infrastructure_pid) and not has_process(run)


def has_no_process(run: FlowRun) -> bool:
    """Return True when the process of a flow run is gone, or has not begun: no worker will begin it."""
    return not has_process(run)


def process_id(run: FlowRun) -> int:
    """Return the id of a flow run's process on this machine. Raises ValueError where none has begun."""
    return int(run.infrastructure_pid or "")
