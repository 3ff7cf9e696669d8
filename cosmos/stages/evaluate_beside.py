"""Job that evaluates a checkpoint beside the training that saved it.

Nothing here imports torch, so that the job lowers its priority before that.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import JobCluster, Machine
from cosmos.config.params import Params
from cosmos.distributed.cores import usable_cores
from cosmos.launch.submission import JobSpec
from cosmos.run import provenance
from cosmos.run.directory import RunDir, step_of_checkpoint

NICENESS = 19
"""Lowest priority, of an evaluation on the machine that trains."""

AUTOGROUP = Path("/proc/self/autogroup")
"""File of the priority of a session, which Linux may share cores by before it looks at processes."""


@dataclass(frozen=True)
class CheckpointEvaluation:
    """Stage call of a job: measures a checkpoint as the training that saved it would."""

    params: Params
    machine: Machine
    checkpoint: Path
    is_shared: bool
    """the machine trains, too"""

    def __call__(self) -> dict[str, Any]:
        """Run the stage, and return the fields of StepFigures."""
        if self.is_shared:
            lower_priority()
        from cosmos.stages.training_evaluation import evaluate_checkpoint

        return evaluate_checkpoint(self.params, self.machine, self.checkpoint)


def lower_priority() -> None:
    """Let other processes have the cores that they want."""
    os.nice(NICENESS)
    with suppress(OSError):
        AUTOGROUP.write_text(str(NICENESS))


def evaluation_beside(params: Params, machine: Machine, run: RunDir, checkpoint: Path) -> JobSpec:
    """Return the job that measures a checkpoint of a training in this process, whose request `machine` has.

    Beside a job of Slurm it is one, too, with the resources of one process; beside any other training it is a
    process of this machine, on half of its cores and no GPU.
    """
    cluster: JobCluster = "slurm" if provenance.current_job().get("cluster") == "slurm" else "local"
    is_shared = cluster == "local"
    if is_shared:
        machine = machine.model_copy(update={"device": "cpu", "threads": max(1, usable_cores() // 2)})
    call = CheckpointEvaluation(params, machine, checkpoint.absolute(), is_shared)
    request = share_of_request(machine, is_shared)
    label, subject = f"evaluate-{run.path.name}", f"step {step_of_checkpoint(checkpoint)}"
    return JobSpec([call], request, cluster, run.evaluation_job, label, subject)


def share_of_request(machine: Machine, is_shared: bool) -> JobRequest:
    """Return the request of one process of a training, with what the machine sets for evaluations alone."""
    whole = machine.slurm
    share = whole.model_copy(
        update={
            "nodes": 1,
            "tasks_per_node": 1,
            "gpus_per_node": 0 if is_shared else min(1, whole.gpus_per_node),
            "memory_gb": whole.memory_gb / whole.ranks_per_node,
        }
    )
    return machine.evaluation_slurm.over(share.model_dump(exclude_unset=True))
