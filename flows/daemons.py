"""Processes that outlive the command which starts them, and are found again by the next command."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

STOP_SECONDS = 90
NUM_LOG_LINES = 20


@dataclass(frozen=True)
class Daemon:
    """Process that holds the lock on a file for as long as it lives, so that its id there is true."""

    name: str
    command: tuple[str, ...]
    folder: Path

    @property
    def file(self) -> Path:
        """File of its process id, and of a note from its start."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Log of what it prints."""
        return self.folder / f"{self.name}.log"

    def running(self) -> tuple[int, str] | None:
        """Return its process id and note; None where it does not run."""
        if not self.file.exists():
            return None
        with self.file.open(encoding="utf-8") as file:
            if lock_descriptor(file.fileno(), blocking=False):
                return None
            process_id, _, note = file.read().partition(" ")
            return int(process_id), note

    def start(self, note: str = "") -> None:
        """Start it in the environment of this process, with a note for those who find it running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file, self.log.open("w", encoding="utf-8") as log:
            assert lock_descriptor(file.fileno(), blocking=False), f"the {self.name} runs"
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[file.fileno()],  # the lock is handed on with it
            )
            file.truncate(0)
            file.write(f"{process.pid} {note}")

    def stop(self) -> bool:
        """End it, at last by force; return whether it ran."""
        running = self.running()
        if running:
            os.kill(running[0], signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while self.running() and time.monotonic() < end:
                time.sleep(0.2)
            if self.running():
                os.killpg(running[0], signal.SIGKILL)
        return running is not None

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n  ".join([f"the end of {self.log}:", *lines[-NUM_LOG_LINES:]])
