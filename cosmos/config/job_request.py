"""Request of a job to the cluster: nodes, GPUs, memory, time, and the options that a site's sbatch wants."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from cosmos.config.section import Natural, Positive, Section, Weight
from cosmos.config.validation import MACHINE_LISTING, explain_validation
from cosmos.errors import InputError

_SUBMISSION_OPTIONS = (
    "output",
    "error",
    "open-mode",
    "signal",
    "requeue",
    "no-requeue",
    "job-name",
    "array",
    "parsable",
)
RESERVED_OPTIONS = {
    **{
        f"--{name}": "the job relies on its own"
        for name in (*_SUBMISSION_OPTIONS, "wait", "wrap", "test-only")
    },
    "--nodes": "set slurm.nodes",
    "--gpus-per-node": "set slurm.gpus_per_node; for a kind of GPU add --gres or slurm.constraint",
    "--ntasks-per-node": "set slurm.tasks_per_node",
    "--ntasks": "set slurm.nodes and slurm.tasks_per_node",
    "--cpus-per-task": "set slurm.cpus_per_task",
    "--mem": "set slurm.memory_gb",
    "--time": "set slurm.minutes",
    "--partition": "set slurm.partition",
    "--account": "set slurm.account",
    "--qos": "set slurm.qos",
    "--constraint": "set slurm.constraint",
}
"""Options of sbatch that `slurm.sbatch` may not have, each with the reason or the setting to use instead."""


def _refuse_reserved(option: str) -> str:
    name = option.partition("=")[0]
    if name in RESERVED_OPTIONS:
        raise InputError(f"{name} cannot be given here: {RESERVED_OPTIONS[name]}")
    return option


SbatchOption = Annotated[
    str, StringConstraints(pattern=r"^--[a-z][a-z0-9-]*(=[^\n]*)?$"), AfterValidator(_refuse_reserved)
]


def _default_warning(request: dict[str, Any]) -> int:
    """Return two minutes as seconds, or half of the time limit where that is less."""
    minutes: int = request.get("minutes", 1440)
    return min(120, 30 * minutes)


class JobRequest(Section):
    """Resources of one job. Machine holds the site's; an experiment states what it needs under `slurm`."""

    nodes: Positive = 1
    """nodes of a job"""
    gpus_per_node: Natural = 0
    """GPUs of a node"""
    gpu_kind: str = ""
    """kind of these GPUs, such as a100-40gb or h100, for `cosmos plan`; nothing is requested by it"""
    tasks_per_node: Natural = 0
    """processes on a node; 0: one for each GPU, or one where no GPU is asked for"""
    cpus_per_task: Positive = 4
    """CPU cores of a process: its own and its workers'"""
    memory_gb: Weight = 0.0
    """memory of a node, in GiB; 0: the site's default"""
    minutes: Positive = 1440
    """time limit; a pretraining that runs into it saves, is requeued and goes on"""
    partition: str = ""
    """partition; empty: the site's default"""
    account: str = ""
    """account that is charged"""
    qos: str = ""
    """quality of service"""
    constraint: str = ""
    """features that nodes must have"""
    array_parallelism: Positive = 8
    """jobs of an array that run at a time"""
    sbatch: tuple[SbatchOption, ...] = ()
    """further options of sbatch, as on its command line: --reservation=spring, --exclusive"""
    setup: tuple[str, ...] = ()
    """shell commands that a job runs first: module load cuda"""
    warning_seconds: Positive = Field(default_factory=_default_warning)
    """seconds before the time limit at which a job is warned, saves and is requeued; left out: 120, or half
    of a shorter limit"""
    max_requeues: Natural = 20
    """times that one submission is requeued; the same command submits it again"""

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if self.warning_seconds >= 60 * self.minutes:
            raise InputError(
                f"warning_seconds: {self.warning_seconds} s before the limit of minutes: {self.minutes}, the "
                "job has not begun; lower warning_seconds or raise minutes"
            )
        return self

    @property
    def ranks_per_node(self) -> int:
        """Number of processes on a node."""
        return self.tasks_per_node or self.gpus_per_node or 1

    @property
    def num_ranks(self) -> int:
        """Number of processes of a job."""
        return self.nodes * self.ranks_per_node

    def over(self, needs: dict[str, Any]) -> "JobRequest":
        """Return this request, with the keys that an experiment `needs` where they are not set here.

        Raises InputError for keys or values that do not fit.
        """
        try:
            return JobRequest.model_validate({**needs, **self.model_dump(exclude_unset=True)})
        except ValidationError as error:
            problems = explain_validation(error, JobRequest, MACHINE_LISTING)
            raise InputError(f"slurm, of the machine and the experiment:\n{problems}") from None
