"""Card of a checkpoint that was copied from a run: card.json beside it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cosmos.errors import DamagedDataError
from cosmos.run.files import write_json
from cosmos.run.records import read_record

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
            return read_record(folder / CARD_FILE, cls, "card of a model", "promote it again")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, DamagedDataError):
            return None

    def write(self, folder: Path) -> None:
        """Write the card into a folder."""
        write_json(folder / CARD_FILE, asdict(self))
