"""Commands of a try: forked from this process, which has imported everything already, and watched.

A fork of a warm process answers in a tenth of the time that a new Python takes to import torch.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash_points import OPERATIONS, READING
from tests.faults.children import fork_child

TIME_LIMIT = 120.0
"""Seconds in which a command must end, on a machine that has other work."""

MEMORY = 4 << 30
"""Bytes that a command may take beyond the address space of the process that it is forked from."""

HARMLESS = ("/dev/null", "/dev/tty", "/proc/", "/sys/")
"""Folders whose files are no traces."""

SETTINGS = {
    "COSMOS_CLUSTER": "debug",
    "COSMOS_DEVICE": "cpu",
    "COSMOS_WORKERS": "0",
    "COSMOS_WANDB__MODE": "disabled",
    "COSMOS_CHECKPOINT_EVERY_STEPS": "3",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "200",
}
"""Environment of all commands, beside PATH and the folders of the try."""


@dataclass(frozen=True)
class Ended:
    """Command that ended: its exit status (negative: the signal that killed it) and its output."""

    command: str
    status: int
    output: str
    strays: str
    """files that it changed outside of its folder, a line each"""

    def describe(self) -> str:
        """Return the command, its status and the end of its output."""
        return f"$ {self.command}\n{self.output[-3000:]}\nexit status {self.status}"


@dataclass
class Running:
    """Command that runs."""

    pid: int
    command: str
    log: Path
    started: float

    def wait(self, seconds: float = TIME_LIMIT) -> Ended:
        """Return the command once it has ended. Raises AssertionError after `seconds`."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(status))
            if time.monotonic() - self.started > seconds:
                self.kill(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"no answer in {seconds:.0f} s\n{self._ended(-9).describe()}")
            time.sleep(0.005)

    def kill(self, number: int) -> None:
        """Send a signal to the command."""
        os.kill(self.pid, number)

    def _ended(self, status: int) -> Ended:
        strays = self.log.with_suffix(".strays").read_text(errors="replace")
        return Ended(self.command, status, self.log.read_text(errors="replace"), strays)


def start(
    place: Path, arguments: tuple[str, ...], settings: Mapping[str, str], meddle: Callable[[], Any]
) -> Running:
    """Start `cosmos ARGUMENTS` in the folder `place`, after a call of `meddle` in its process."""
    logs = place.with_name(f"{place.name}.logs")
    logs.mkdir(exist_ok=True)
    log = logs / f"{len(list(logs.iterdir())) // 2:03}.txt"
    strays = log.with_suffix(".strays")
    log.touch()
    strays.touch()
    pid = fork_child(lambda: _become_command(place, arguments, settings, meddle, log, strays))
    return Running(pid, f"cosmos {' '.join(arguments)}", log, time.monotonic())


def environment(place: Path) -> dict[str, str]:
    """Return the environment of commands in a folder: its own home, temporary files and caches."""
    return {
        **SETTINGS,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "DVC_SITE_CACHE_DIR": str(place / "home"),
        "COSMOS_CACHE_ROOT": str(place / "cache"),
    }


def _become_command(
    place: Path,
    arguments: tuple[str, ...],
    settings: Mapping[str, str],
    meddle: Callable[[], Any],
    log: Path,
    strays: Path,
) -> int:
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(place)
    variables = {**environment(place), **settings}
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_one_core()
    _limit_memory()
    _watch_writes(place, os.open(strays, os.O_WRONLY | os.O_APPEND))
    meddle()
    return _run_cosmos(arguments)


def _run_cosmos(arguments: tuple[str, ...]) -> int:
    from cosmos.cli import main

    sys.argv = ["cosmos", *arguments]
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def take_one_core() -> None:
    """Keep this process to one of its cores: commands then work in one process, which is repeatable."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _watch_writes(place: Path, report: int) -> None:
    """Write the path of each file that this process changes outside of `place` to the open file `report`."""
    allowed = (f"{os.path.realpath(place)}/", *HARMLESS)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        for path in changed_paths(event, arguments):
            if not f"{path}/".startswith(allowed):
                os.write(report, f"{event} {path}\n".encode(errors="replace"))

    sys.addaudithook(watch)


def changed_paths(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return the absolute paths that an audited operation changes."""
    if event not in OPERATIONS or (event == "open" and arguments[2] & ~READING == 0):
        return []
    places = (0,) if event == "open" else OPERATIONS[event]
    paths = (arguments[index] for index in places)
    return [os.path.realpath(os.fsdecode(p)) for p in paths if isinstance(p, str | bytes | os.PathLike)]
