"""Labels of a run, by which people and tools group and find runs; they decide no result."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

from cosmos.config.disk_reading import exists
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.records import read_record

JobType = Literal["pretrain", "evaluate", "search"]


@dataclass(frozen=True)
class RunLabels:
    """Contents of labels.json of a run directory."""

    group: str = ""
    """sweep that the run belongs to; "": none"""
    job_type: JobType = "pretrain"
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the labels of a run, or the default ones where it has no file of them.

        Raises DamagedDataError where the file is damaged.
        """
        if not exists(run.labels):
            return cls()
        return read_record(run.labels, cls, "file of labels", "mend or delete it")

    def write(self, run: RunDir) -> None:
        """Write these labels into a run directory."""
        write_json(run.labels, asdict(self))
