"""wandb.json: which run of Weights & Biases shows a run directory, and how far it is shown there."""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

from cosmos.run.directory import RunDir, checkpoint_label
from cosmos.run.files import write_json


@dataclass(frozen=True)
class MirrorNote:
    """What wandb.json says."""

    id: str
    """the run's, in W&B: a requeued job goes on in the same one"""
    mode: str = ""
    """online or offline; "" before there was anything to show"""
    url: str = ""
    """where to look; "" offline"""
    step: int = -1
    """the last one that W&B was handed"""
    results: dict[str, str] = field(default_factory=dict)
    """digests of the results that are shown, by file"""
    checkpoint: str = ""
    """the checkpoint that is shown"""
    finished: bool = False
    """whether W&B has taken all that it was handed; a process that was killed leaves that open"""

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """The note of a run; a new one where it has none, or only that of a run it was copied from."""
        label = checkpoint_label(run.path.absolute().name)
        with suppress(FileNotFoundError, TypeError, ValueError, AttributeError):
            note = cls(**json.loads(run.wandb.read_text(encoding="utf-8")))
            if note.id.rpartition("-")[0] == label:
                return note
        return cls(f"{label}-{secrets.token_hex(4)}")

    def write(self, run: RunDir) -> None:
        """Writes it down."""
        write_json(run.wandb, asdict(self))
