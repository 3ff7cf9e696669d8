"""Memory as a disk for the files of tests and campaigns, where a sync takes no time."""

import os
from contextlib import suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")
"""Control group of the container that this process is in; that of a whole machine has no limit."""


def memory_with_room(needed: int) -> Path | None:
    """Return the folder whose files are in memory; None where so many bytes, or programs, have no place.

    Docker gives a container 64 MB of it, in which nothing may be executed.
    """
    try:
        system = os.statvfs(MEMORY)
    except OSError:
        return None
    room = min(system.f_bavail * system.f_frsize, free_memory())
    refuses = system.f_flag & (os.ST_NOEXEC | os.ST_RDONLY) or not os.access(MEMORY, os.W_OK)
    return None if room < needed or refuses else MEMORY


def free_memory() -> int:
    """Return the bytes of memory that processes may still take, on this machine and in its container."""
    (line,) = (line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
    free = 1024 * int(line.split()[1])
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free
