"""Calls for jobs to run, and what a launch needs."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.errors import Interrupted
from cosmos.launch.once import launch
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.submission import Call, JobSpec

SMALL = JobRequest(cpus_per_task=1, minutes=5, warning_seconds=30)


def add(a: int, b: int) -> int:
    return a + b


def fail_with(error: Exception) -> None:
    raise error


def fail_on(rank: int) -> str:
    if int(os.environ.get("RANK", "0")) == rank:
        raise KeyError("sample 7 has no caption")
    time.sleep(600)
    return "never"


def fail_at_first(file: Path) -> str:
    """Meets a network that is away when it is called first."""
    if not file.exists():
        file.touch()
        raise ConnectionResetError("the network is away")
    return "done"


def fill_disk(folder: Path) -> None:
    """Writes until the disk is full, to the last byte."""
    with (folder / "full").open("wb", buffering=0) as file:
        while file.write(b"0" * 4096):
            pass


def describe_ranks() -> dict[str, Any]:
    """The rank numbers and the port that the launcher exports, and the addresses that ranks listen at."""
    from datetime import timedelta

    from cosmos.distributed.exchange import on_every_rank
    from cosmos.distributed.group import process_group

    with process_group("cpu", timedelta(minutes=5)):
        ranks = on_every_rank(lambda: os.environ["RANK"])
        addresses = on_every_rank(addresses_listened_at)
    return {
        "ranks": ",".join(ranks),
        "port": os.environ["MASTER_PORT"],
        "addresses": sorted({address for each in addresses for address in each}),
    }


def addresses_listened_at() -> list[str]:
    """The addresses, in the kernel's hexadecimal, at which this process listens; 127.0.0.1 is 0100007F."""
    own = {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    listening = [
        fields
        for family in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{family}").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A"
    ]
    return [fields[1].partition(":")[0] for fields in listening if f"socket:[{fields[9]}]" in own]


def count_starts(file: Path, interruptions: int) -> int:
    """Stopped by a warning so many times, each time after it began; returns how often it began."""
    starts = len(file.read_text()) if file.exists() else 0
    file.write_text("x" * (starts + 1))
    if starts < interruptions:
        raise Interrupted("asked to stop", signal.SIGUSR2)
    return starts + 1


def code_that_runs() -> str:
    import cosmos

    return str(Path(cosmos.__file__).parent)


def reveal(machine: Machine, text: SecretStr) -> list[str]:
    """Returns the secrets that it was called with."""
    options = machine.storage_options.get_secret_value()
    return [options["secret"], machine.study_storage.get_secret_value(), text.get_secret_value()]


def measure_secrets(machine: Machine, text: SecretStr) -> list[int]:
    """Returns the lengths of the secrets that it was called with."""
    return [len(secret) for secret in reveal(machine, text)]


def session_of_controller() -> list[int]:
    """The id and the session of the process that controls this job."""
    return [os.getppid(), os.getsid(os.getppid())]


def exit_without_a_word() -> None:
    os._exit(3)


def hoard(megabytes: int) -> int:
    """Holds on to memory for a while."""
    held = bytearray(megabytes * 2**20)
    time.sleep(60)
    return len(held)


def wait_for(file: Path) -> str:
    while not file.exists():
        time.sleep(0.1)
    return file.read_text()


def stop_slowly(file: Path) -> None:
    """Takes a second to save once it is asked to stop, as a training does, and says how far it is."""
    file.write_text("begun")
    try:
        time.sleep(600)
    except Interrupted:
        time.sleep(1)
        file.write_text("saved")
        raise


@dataclass(frozen=True)
class Wait:
    """Call that says that it has begun, and waits for a file."""

    file: Path

    def __call__(self) -> str:
        self.file.with_name("begun").touch()
        return wait_for(self.file)


def mark_and_wait(folder: Path, index: int, seconds: float) -> int:
    """Leaves a file while it runs, and returns how many files there were."""
    mine = folder / f"running-{index}"
    mine.touch()
    time.sleep(seconds)
    count = len(list(folder.glob("running-*")))
    mine.unlink()
    return count


@dataclass
class Launcher:
    """`launch` in a folder of its own, with what it says."""

    cluster: ClusterName
    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def record(self) -> Path:
        return self.folder / "job.json"

    def __call__(self, *calls: Call, request: JobRequest = SMALL) -> Sequence[CallOutcome]:
        return launch(self.spec(*calls, request=request), self.said.append)

    def spec(self, *calls: Call, request: JobRequest = SMALL) -> JobSpec:
        """A job of these calls."""
        return JobSpec(calls, request, self.cluster, self.record, "test")


def end_on(rank: int, number: signal.Signals) -> str:
    """Killed or stopped on one rank while the others wait for it."""
    from datetime import timedelta

    from cosmos.distributed.exchange import on_every_rank
    from cosmos.distributed.group import process_group

    with process_group("cpu", timedelta(seconds=8)) as process:  # in which both have imported torch
        on_every_rank(lambda: None)
        if process.rank == rank:
            os.kill(os.getpid(), number)
        on_every_rank(lambda: None)
    return "never"
