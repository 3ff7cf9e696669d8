"""Ranks of a stage: its process group and its threads, by the settings of the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.distributed.group import ProcessRank, process_group
from cosmos.distributed.threads import computing_threads


@contextmanager
def joined_ranks(machine: Machine, folder: Path) -> Iterator[ProcessRank]:
    """Compute inside as a rank of the job, by the machine's threads; `folder`: place of reports of hangs.

    Raises the errors of `process_group`.
    """
    limit = timedelta(minutes=machine.rank_wait_minutes)
    with computing_threads(machine.threads), process_group(machine.device, limit, folder) as process:
        yield process
