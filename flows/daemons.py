"""Processes that outlive the command which starts them, and are found again by the next."""

import fcntl
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 90
NUM_TOLD = 20


@dataclass(frozen=True)
class Daemon:
    """A process that holds the lock on a file for as long as it lives, so that its id there is true."""

    name: str
    command: tuple[str, ...]
    folder: Path

    @property
    def file(self) -> Path:
        """Its process id, and what was noted when it was started."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / f"{self.name}.log"

    def running(self) -> tuple[int, str] | None:
        """Its process id and note; None where it does not run."""
        if not self.file.exists():
            return None
        with self.file.open(encoding="utf-8") as file:
            if takes_lock(file.fileno()):
                return None
            process_id, _, note = file.read().partition(" ")
            return int(process_id), note

    def start(self, note: str = "") -> None:
        """Starts it in the environment of this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file, self.log.open("w", encoding="utf-8") as log:
            assert takes_lock(file.fileno()), f"the {self.name} runs"
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[file.fileno()],  # and the lock with it
            )
            file.truncate(0)
            file.write(f"{process.pid} {note}")

    def stop(self) -> bool:
        """Asks it to end, and makes it end where it does not; whether there was something to end."""
        running = self.running()
        if running:
            os.kill(running[0], signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while self.running() and time.monotonic() < end:
                time.sleep(0.2)
            if self.running():
                os.killpg(running[0], signal.SIGKILL)
        return running is not None

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n  ".join([f"the end of {self.log}:", *lines[-NUM_TOLD:]])


def takes_lock(descriptor: int) -> bool:
    """Takes the lock on an open file, unless another process has it; whether it did."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
