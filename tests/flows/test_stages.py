"""Tasks: one for each stage of dvc.yaml, tried again where that may help."""

import errno
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Failed

from cosmos.errors import InputError, Interrupted, TransientError
from cosmos.pipeline.dvc import STAGES, StageFailedError, stage_failure
from flows.retries import RETRIES, is_transient_failure
from flows.stages import TASKS, groups_of_stages


def stage_failed(status: int) -> StageFailedError:
    return stage_failure("prepare", ["ERROR: failed to run: cosmos prepare, exited with 74"], status)


def test_every_stage_has_a_task() -> None:
    assert {stage.partition("@")[0] for stage in STAGES} == set(TASKS)


def test_all_suites_are_one_group_where_they_are_jobs() -> None:
    suites = ["evaluate@retrieval", "evaluate@classification", "evaluate@segmentation", "evaluate@perception"]
    assert groups_of_stages(STAGES, has_jobs=True) == [["prepare"], ["pretrain"], suites, ["report"]]
    assert groups_of_stages(STAGES, has_jobs=False) == [[stage] for stage in STAGES]


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    [
        (stage_failed(TransientError.exit_status), True),
        (stage_failed(1), False),
        (stage_failed(InputError.exit_status), False),
        (stage_failed(Interrupted.exit_status), False),
        (TransientError("params.yaml: No space left on device"), True),
        (InputError("experiments/x.yaml: no such file"), False),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (PermissionError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_only_a_stage_whose_disk_or_network_failed_is_tried_again(
    error: Exception, is_tried_again: bool
) -> None:
    run = TaskRun(task_key="prepare", dynamic_key="0", flow_run_id=uuid4())
    failed: State[Any] = Failed(data=error)
    assert is_transient_failure(TASKS["prepare"], run, failed) is is_tried_again


def test_every_task_is_tried_again_on_that_condition_alone() -> None:
    assert {task.retry_condition_fn for task in TASKS.values()} == {is_transient_failure}
    assert {task.retries for task in TASKS.values()} == {RETRIES}
