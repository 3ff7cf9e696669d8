"""Daemons: processes that outlive the command which starts them, and that later commands find again."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from filelock import lock_descriptor

from cosmos.config.disk_reading import exists
from cosmos.errors import CosmosError, DamagedDataError, InputError, cut_reason
from cosmos.run.files import naming_disk_errors

PROCESS_ID = re.compile(r"\d{1,9}")
LOGGED_ERROR = re.compile(r"^[\w.]*(?:Error|Exception): .+", re.MULTILINE)
"""Pattern of the line of a log in which a traceback ends."""
STOP_SECONDS = 90


class RunningProcess(NamedTuple):
    """Process id of a daemon that runs, and the note from its start."""

    id: int
    note: str


@dataclass(frozen=True)
class Daemon:
    """Process that holds the lock on a file for as long as it lives, so that its id there is true."""

    name: str
    command: tuple[str, ...]
    folder: Path
    remedy: str = ""
    """remedy for one that ends by itself"""

    @property
    def file(self) -> Path:
        """File of its process id, of a note from its start, and of its machine's name."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Log of its output."""
        return self.folder / f"{self.name}.log"

    def running(self) -> RunningProcess | None:
        """Return its process; None where it does not run.

        Raises CosmosError where another command starts it at the same time, InputError where it runs on
        another machine that has the same folder: the id of its process is a stranger's here.
        """
        if not exists(self.file):
            return None
        with self.file.open(encoding="utf-8") as file:
            if self._lock(file):
                return None
            content, _, host = file.read().partition("\n")
        process_id, _, note = content.partition(" ")
        if not process_id:
            raise self.start_conflict()
        if not PROCESS_ID.fullmatch(process_id):
            raise DamagedDataError(
                f"{self.file}: holds no id of a process; end the {self.name}, which `fuser {self.file}` names"
            )
        if host not in ("", socket.gethostname()):  # "": from before it was noted
            raise InputError(f"{self.file}: the {self.name} runs on {host}; give the command there")
        return RunningProcess(int(process_id), note)

    def _lock(self, file: IO[str]) -> bool:
        """Lock its open file; return False where another process holds the lock.

        Raises InputError for a file system without locks, on which nobody could find the daemon again.
        """
        try:
            return lock_descriptor(file.fileno(), blocking=False)
        except OSError as error:
            remedy = "work in a checkout on a local disk"
            raise InputError(f"{self.file}: cannot be locked ({error.strerror}); {remedy}") from None

    def start(self, note: str = "") -> None:
        """Start it in the environment of this process, with a note for those who find it running.

        Raises CosmosError where another command starts it at the same time, and TransientError where the
        disk is full or fails; then nothing is started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with naming_disk_errors(self.file), self.file.open("a", encoding="utf-8") as file:
            if not self._lock(file):
                raise self.start_conflict()
            file.truncate(0)  # first, so that nobody reads the id of a process before this one
            with self.log.open("w", encoding="utf-8") as log:
                process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[file.fileno()],  # the lock is handed on with it
                )
            try:
                file.write(f"{process.pid} {note}\n{socket.gethostname()}")
                file.flush()
            except OSError:  # nobody could end a process whose id is not in the file
                process.kill()
                raise

    def stop(self) -> bool:
        """End it, by force after STOP_SECONDS; return True where it ran."""
        running = self.running()
        if running:
            with suppress(ProcessLookupError):
                os.kill(running.id, signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while self.running() and time.monotonic() < end:
                time.sleep(0.2)
            if self.running():
                os.killpg(running.id, signal.SIGKILL)
        return running is not None

    def start_conflict(self) -> CosmosError:
        """Return the error of a command that meets another one which starts it."""
        return CosmosError(f"the {self.name} is being started by another command; wait, and try again")

    def describe_end(self) -> str:
        """Return why it ended, as far as its log says, with the remedy, in a line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        errors = LOGGED_ERROR.findall(text) or [line for line in text.splitlines() if line.strip()]
        reason = cut_reason(errors[-1]) if errors else "it said nothing"
        return f"the {self.name} ended: {reason}; {self.log} has more{self.remedy and f'; {self.remedy}'}"
