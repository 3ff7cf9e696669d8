"""NCCL's Flight Recorder, which keeps the newest collectives of a rank: turned on, and dumped into the run.

docs/slurm.md says how to read the dumps. What the environment sets stays.
"""

import os
from contextlib import suppress
from pathlib import Path

import torch

from cosmos.config.disk_reading import is_dir

BUFFER_SIZES = ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE")
DUMP_FILES = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")
"""Variables of torch: collectives that are kept, and the beginning of a dump's path, which the rank ends; the
first of each is the newer name."""

ON_TIMEOUT = ("TORCH_NCCL_DUMP_ON_TIMEOUT",)

KEPT_COLLECTIVES = "2000"

DUMP_PREFIX = "nccl-trace-"
"""Beginning of the names of dumps in a run's folder."""


def record_flights(folder: Path) -> None:
    """Set the variables of the recorder for a process group that is made after it."""
    values = (KEPT_COLLECTIVES, str(folder.absolute() / DUMP_PREFIX), "1")
    for names, value in zip((BUFFER_SIZES, DUMP_FILES, ON_TIMEOUT), values, strict=True):
        if not any(name in os.environ for name in names):
            os.environ[names[0]] = value


def dump_flights(folder: Path, rank: int) -> None:
    """Write this rank's dump, where NCCL is in use and the folder is there; an error is none of a hang's."""
    if torch.cuda.is_initialized() and is_dir(folder):  # type: ignore[no-untyped-call]
        with suppress(Exception):
            (folder / f"{DUMP_PREFIX}{rank}").write_bytes(
                torch._C._distributed_c10d._dump_nccl_trace()  # type: ignore[attr-defined]
            )
