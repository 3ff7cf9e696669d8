"""Run that is planned, with its figures and problems; and all of it as JSON."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from cosmos.plan.memory import MemoryRemedy, device_bytes
from cosmos.plan.problem import PlanProblem
from cosmos.plan.run_plan import RunPlan
from cosmos.plan.workload import Workload


@dataclass(frozen=True)
class PlannedRun:
    """Run that is planned: the question, the answer, and what is wrong with it."""

    name: str
    """name of the experiment"""
    workload: Workload
    plan: RunPlan
    problems: tuple[PlanProblem, ...]
    """errors, then warnings"""

    @property
    def errors(self) -> list[PlanProblem]:
        """Problems with which the run cannot work."""
        return [problem for problem in self.problems if problem.is_error]

    @property
    def warnings(self) -> list[PlanProblem]:
        """Problems with which the run works."""
        return [problem for problem in self.problems if not problem.is_error]

    def as_json(self) -> dict[str, Any]:
        """Return question, figures and problems, for programs; the figures are those of the table."""
        return {
            "experiment": self.name,
            "workload": workload_values(self.workload),
            "plan": plan_values(self.plan),
            "remedies": [remedy_values(remedy) for remedy in self.plan.remedies],
            "problems": [asdict(problem) for problem in self.problems],
        }


def workload_values(workload: Workload) -> dict[str, Any]:
    """Return the question of a plan: parameters that decide it, data, ranks and their settings."""
    data, params = workload.data, workload.params
    facts = asdict(data)
    del facts["caption_lengths"]
    return {
        "architecture": params.model.architecture,
        "precision": params.pretrain.precision,
        "epochs": params.pretrain.epochs,
        "batch_size": params.pretrain.batch_size,
        "batch_per_rank": workload.batch_per_rank,
        "nodes": workload.nodes,
        "ranks_per_node": workload.ranks_per_node,
        "gpu": workload.gpu.kind if workload.gpu else None,
        "gpu_bytes": device_bytes(workload.gpu) if workload.gpu else None,
        "micro_batches": workload.micro_batches,
        "activation_checkpointing": workload.activation_checkpointing,
        "workers": workload.workers,
        "cores_per_rank": workload.cores_per_rank,
        "data": {
            **facts,
            "mean_global_tokens": data.mean_global_tokens,
            "mean_local_tokens": data.mean_local_tokens,
        },
    }


def plan_values(plan: RunPlan) -> dict[str, Any]:
    """Return the figures of a plan, with the sums that its table shows."""
    values = asdict(replace(plan, remedies=()))
    del values["remedies"]
    values["flops"] |= {"logged": plan.flops.logged, "computed": plan.flops.computed}
    values["disk"] |= {"run_bytes": plan.disk.run_bytes}
    memory, traffic = plan.memory, plan.traffic
    values["memory"] |= {"peak": memory.peak, "reserve": memory.reserve, "needed": memory.needed}
    values["traffic"] |= {"bytes_sent": traffic.bytes_sent, "seconds": asdict(traffic.seconds)}
    return values


def remedy_values(remedy: MemoryRemedy) -> dict[str, Any]:
    """Return the settings with which a step fits, their memory and their cost."""
    workload = remedy.workload
    return {
        "nodes": workload.nodes,
        "batch_size": workload.params.pretrain.batch_size,
        "micro_batches": workload.micro_batches,
        "activation_checkpointing": workload.activation_checkpointing,
        "memory": remedy.memory.needed,
        "time_factor": remedy.time_factor,
        "changes_result": remedy.changes_result,
    }
