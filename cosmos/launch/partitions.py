"""Partitions of a Slurm cluster: their time limits, and the cores, memory and GPUs of their nodes."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from cosmos.launch import slurm

COLUMNS = ("%P", "%a", "%l", "%D", "%c", "%m", "%G", "%f")
"""Columns of sinfo: partition, state, time limit, nodes; cores, MiB, GRES and features of each node."""

GPU_RESOURCE = re.compile(r"\bgpu(?::([^:,()=]+))?[:=](\d+)")
"""GPUs in a list of generic resources: gpu:4, gpu:a100:4(S:0-1)."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    number: int
    cores: int
    memory_mib: int
    gpus: tuple[tuple[str, int], ...]
    """kinds of GPUs as the site calls them, "" where it does not, and their number on a node"""
    features: frozenset[str]

    @property
    def num_gpus(self) -> int:
        """Number of GPUs of a node."""
        return sum(number for _, number in self.gpus)


@dataclass(frozen=True)
class Partition:
    """Partition of a cluster, as sinfo describes it."""

    name: str
    is_default: bool
    is_up: bool
    """False: it takes no jobs, or starts none"""
    max_minutes: float
    """largest time limit of a job; infinite where there is none"""
    nodes: tuple[NodeKind, ...]

    @classmethod
    def of_lines(cls, name: str, lines: Sequence[Sequence[str]]) -> Self:
        """Return a partition from its lines of sinfo, of COLUMNS."""
        _, state, limit, *_ = lines[0]
        nodes = tuple(parse_node_kind(line[3:]) for line in lines)
        return cls(name.removesuffix("*"), name.endswith("*"), state == "up", parse_minutes(limit), nodes)

    @property
    def gpu_kinds(self) -> tuple[str, ...]:
        """Kinds of GPUs that the site names."""
        return tuple(dict.fromkeys(name for kind in self.nodes for name, _ in kind.gpus if name))


def list_partitions(patience: float = math.inf) -> list[Partition]:
    """Return the partitions of this machine's cluster; [] where there is none, or sinfo fails.

    Raises SlurmSilentError when it does not answer for `patience` seconds.
    """
    lines = [line.split("|") for line in slurm.list_nodes("|".join(COLUMNS), patience)]
    whole = sorted((line for line in lines if len(line) == len(COLUMNS)), key=lambda line: line[0])
    by_name = groupby(whole, key=lambda line: line[0])
    return [Partition.of_lines(name, list(lines)) for name, lines in by_name]


def find_partition(partitions: Iterable[Partition], name: str) -> Partition | None:
    """Return the partition of this name, or the default one for ""; None where there is none."""
    return next((item for item in partitions if (item.name == name if name else item.is_default)), None)


def parse_node_kind(cells: Sequence[str]) -> NodeKind:
    """Return nodes that are alike from their cells: number, cores, memory, GPUs, features."""
    number, cores, memory, resources, features = cells
    gpus = tuple((kind, int(count)) for kind, count in GPU_RESOURCE.findall(resources))
    names = frozenset(features.split(",")) - {"(null)", ""}
    return NodeKind(leading_number(number), leading_number(cores), leading_number(memory), gpus, names)


def leading_number(text: str) -> int:
    """Return the number at the beginning of a cell such as 64 or 64+."""
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


def parse_minutes(limit: str) -> float:
    """Return a time limit as Slurm writes it in minutes: 1-02:00:00, 2:00:00, 30:00, infinite."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in [*parts, days or "0"]):
        return math.inf
    hours, minutes, seconds = [0, 0, 0, *map(int, parts)][-3:]
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60
