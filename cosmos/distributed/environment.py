"""Rank and world size of this process, as launchers export them in torchrun's names; imports no torch.

RANK, WORLD_SIZE and LOCAL_RANK are set for every process of a job. A process without them is alone.
"""

import os

from cosmos.errors import InputError

STORE_LISTENER = "COSMOS_STORE_LISTENER"
"""Variable of ranks that `cosmos` launched: on rank 0 the descriptor of the socket at which it listens, "" on
the others."""


def exported_rank() -> int:
    """Return this process's rank among those of its job."""
    return int(os.environ.get("RANK", "0"))


def exported_world_size() -> int:
    """Return the number of processes of the job."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def exported_local_rank() -> int:
    """Return this process's rank among those of its job on the same host."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def exported_local_world_size() -> int:
    """Return the number of processes of the job on this host, where the launcher says it, or 1."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Return True in the process that writes files and speaks for its job."""
    return exported_rank() == 0


def is_launched() -> bool:
    """Return True in a process that a launcher started as one of a job's."""
    return "RANK" in os.environ


def exported_meeting() -> tuple[str, int]:
    """Return the address and port at which ranks meet. Raises InputError where no launcher has set them."""
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not address or not port.isdecimal():
        raise InputError(
            f"MASTER_ADDR={address} MASTER_PORT={port}: no place at which {exported_world_size()} ranks "
            "(WORLD_SIZE) meet; start them by torchrun, or unset RANK and WORLD_SIZE"
        )
    return address, int(port)


def exported_listener() -> int | None:
    """Return the descriptor of the socket at which this process listens for other ranks; None without one."""
    descriptor = os.environ.get(STORE_LISTENER, "")
    return int(descriptor) if descriptor else None
