"""Note of the W&B run that mirrors a run directory, and of the data that it has: wandb.json."""

import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

from cosmos.errors import DamagedDataError
from cosmos.run.directory import RunDir
from cosmos.run.files import file_label, write_json
from cosmos.run.records import read_record


@dataclass(frozen=True)
class MirrorNote:
    """Contents of wandb.json."""

    id: str
    """id of the run in W&B: a requeued job goes on in the same one"""
    mode: str = ""
    """online or offline; "" before there was anything to show"""
    url: str = ""
    """address of the run's page; "" offline"""
    step: int = -1
    """last step that W&B was handed"""
    results: dict[str, str] = field(default_factory=dict)
    """digests of the results that W&B shows, by file"""
    checkpoint: str = ""
    """checkpoint that W&B shows"""
    finished: bool = False
    """True when W&B has taken all that it was handed; unknown, and false, after a kill"""

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the note of a run; a new one where it has none, or only that of a run it was copied from."""
        label = file_label(run.path.absolute().name)
        with suppress(FileNotFoundError, IsADirectoryError, DamagedDataError):
            note = read_record(run.wandb, cls, "note of a run in W&B", "delete it")
            if note.id.rpartition("-")[0] == label:
                return note
        return cls(f"{label}-{secrets.token_hex(4)}")

    def write(self, run: RunDir) -> None:
        """Write this note into a run directory."""
        write_json(run.wandb, asdict(self))
