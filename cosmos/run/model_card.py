"""Card of a checkpoint that was copied from a run: card.json beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cosmos.run.files import write_json

CARD_FILE = "card.json"


@dataclass(frozen=True)
class ModelCard:
    """Contents of card.json: the run and the checkpoint that a copy is of."""

    run: str
    """path from the folder of runs"""
    checkpoint: str
    """name of the file"""
    sha256: str
    """hash of the checkpoint"""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the card in a folder; None where there is none, or another file of that name."""
        try:
            return cls(**json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the card into a folder."""
        write_json(folder / CARD_FILE, asdict(self))
