"""Flow runs whose process is gone, though another process may have its id."""

import os
import subprocess
import sys
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun

from flows.work_pool import has_lost_process, has_no_process, has_process


def test_a_stranger_who_has_the_id_of_a_process_that_is_gone_is_no_flow_run() -> None:
    run = FlowRun(id=uuid4(), flow_id=uuid4())
    assert has_no_process(run)
    assert not has_lost_process(run), "a worker may yet begin it"
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    begun = {**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)}
    with subprocess.Popen(sleep) as stranger, subprocess.Popen(sleep, env=begun) as its_own:
        try:
            assert has_process(run.model_copy(update={"infrastructure_pid": str(its_own.pid)}))
            assert has_lost_process(run.model_copy(update={"infrastructure_pid": str(stranger.pid)}))
            assert has_lost_process(run.model_copy(update={"infrastructure_pid": "1"}))
        finally:
            stranger.kill()
            its_own.kill()
    assert has_lost_process(run.model_copy(update={"infrastructure_pid": str(its_own.pid)}))
