"""Labels of a run, by which people and tools group and find runs; they decide no result."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

from cosmos.errors import DamagedDataError
from cosmos.run.directory import RunDir
from cosmos.run.files import read_json_object, write_json

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
        if not run.labels.exists():
            return cls()
        values = read_json_object(run.labels, "file of labels", "delete it")
        tags = values.get("tags", [])
        if not isinstance(tags, list):
            raise DamagedDataError(
                f"{run.labels}: not a file of labels (tags: {tags!r} is no list); mend or delete it"
            )
        try:
            return cls(**{**values, "tags": tuple(tags)})
        except TypeError as error:
            raise DamagedDataError(f"{run.labels}: not a file of labels ({error}); delete it") from None

    def write(self, run: RunDir) -> None:
        """Write these labels into a run directory."""
        write_json(run.labels, asdict(self))
