"""Trials of earlier sweeps that a sweep begins with: like.json in its directory."""

from collections.abc import Container
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from pydantic import FiniteFloat

from cosmos.config.disk_reading import exists
from cosmos.run.files import write_json
from cosmos.run.records import read_record

RecordedValues = dict[str, bool | int | FiniteFloat | str]
"""Values of parameters by path, as a record has them."""


@dataclass(frozen=True)
class EarlierTrial:
    """Trial of an earlier sweep, with its values of the parameters that are searched now."""

    origin: str
    """<sweep>/<trial>"""
    values: RecordedValues
    """values that the space has; the sampler draws the others"""
    left_out: RecordedValues = field(default_factory=dict)
    """values that the space does not have, such as those out of a range"""


@dataclass(frozen=True)
class EarlierTrials:
    """Trials to begin with, and the sweeps that were asked for them: the contents of like.json."""

    sweeps: tuple[str, ...] = ()
    """ids of the sweeps, each of which is asked once"""
    trials: tuple[EarlierTrial, ...] = ()
    """trials in the order in which they are tried"""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the contents of a file; none where there is no file.

        Raises DamagedDataError where it is damaged, TransientError where the disk fails.
        """
        if not exists(path):
            return cls()
        remedy = "delete it, and give `--like` again"
        return read_record(path, cls, "record of earlier trials", remedy)

    def write(self, path: Path) -> None:
        """Write the record. Raises TransientError where the disk is full or fails."""
        write_json(path, asdict(self))

    def has_asked(self, name: str) -> bool:
        """Return True where the sweep of this id, name or path was asked for its trials."""
        last = Path(name).name
        return any(last in (sweep_id, sweep_id.rpartition("-")[0]) for sweep_id in self.sweeps)

    def next_after(self, origins: Container[str]) -> EarlierTrial | None:
        """Return the first trial that is not among those of `origins`; None where all are."""
        return next((trial for trial in self.trials if trial.origin not in origins), None)
