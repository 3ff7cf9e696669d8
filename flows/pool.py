"""The work pool on the Prefect server: its queues, its workers, and flow runs that nobody runs any more."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
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

UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]

END_SECONDS = 60


def make(name: str, queues: Mapping[str, int]) -> None:
    """Makes the pool and its queues, each with the number of flow runs that it lets run at a time."""
    template = ProcessWorker.get_default_base_job_template()
    wanted = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template, is_paused=False)
    with get_client(sync_client=True) as client:
        client.create_work_pool(wanted, overwrite=True)
        known = {queue.name: queue.id for queue in client.read_work_queues(work_pool_name=name)}
        for queue in queues.keys() - known.keys():
            known[queue] = client.create_work_queue(name=queue, work_pool_name=name).id
        for queue, limit in queues.items():
            client.update_work_queue(known[queue], concurrency_limit=limit)


def has_worker(name: str, since: datetime) -> bool:
    """Whether a worker has asked for flow runs of the pool since then."""
    with get_client(sync_client=True) as client:
        workers = client.read_workers_for_work_pool(work_pool_name=name)
    return any(worker.last_heartbeat_time and worker.last_heartbeat_time > since for worker in workers)


def bury_orphans(name: str) -> None:
    """Says of flow runs whose process is gone that they crashed: the queue would count them for ever."""
    with get_client(sync_client=True) as client:
        for run in under_way(client, name):
            if not is_alive(run):
                told: State[Any] = Crashed(message="its process is gone, and its worker has not said why")
                client.set_flow_run_state(run.id, told, force=True)


def end_runs(name: str) -> None:
    """Has the pool take on nothing more, and its flow runs put things in order and end; their jobs go on."""
    with get_client(sync_client=True) as client:
        client.update_work_pool(name, WorkPoolUpdate(is_paused=True))
        runs = [run for run in under_way(client, name) if is_alive(run)]
    for run in runs:
        with suppress(ProcessLookupError):
            os.kill(process_id(run), signal.SIGTERM)
    end = time.monotonic() + END_SECONDS
    while any(map(is_alive, runs)) and time.monotonic() < end:
        time.sleep(0.2)


def under_way(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """Flow runs of the pool that have begun, and have not ended as far as the server knows."""
    begun = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    return client.read_flow_runs(flow_run_filter=begun, work_pool_filter=in_pool)


def is_alive(run: FlowRun) -> bool:
    """Whether the process of a flow run is there."""
    try:
        os.kill(process_id(run), 0)
    except (ValueError, ProcessLookupError):
        return False
    return True


def process_id(run: FlowRun) -> int:
    """The process that runs it, on this machine. ValueError where none has begun to."""
    return int(run.infrastructure_pid or "")
