"""Space in which the id of a process means one process: a host since its last start, and a container there.

Hosts may have one name, as containers and copies of a machine do, and ids begin anew with each of them.
"""

import socket
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""File with the id of the host's last start; Linux alone has it."""

PID_NAMESPACE = Path("/proc/self/ns/pid")
"""Link that names the container's ids of processes."""


def process_space() -> str:
    """Return the name of the space of this process: its host's, and a hash where the system tells more."""
    return f"{socket.gethostname()}{_hash_of_space()}"


def host_of_space(space: str) -> str:
    """Return the name of the host of a space."""
    return space.partition("+")[0]


@cache
def _hash_of_space() -> str:
    with suppress(OSError):
        marks = f"{BOOT_ID.read_text()} {PID_NAMESPACE.readlink()}"
        return f"+{sha256(marks.encode()).hexdigest()[:8]}"
    return ""
