"""What a run belongs to: for people and tools that set runs beside each other; it decides no result."""

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json

JobType = Literal["pretrain", "evaluate", "search"]


@dataclass(frozen=True)
class RunLabels:
    """labels.json of a run directory."""

    group: str = ""
    """runs of a sweep have one"""
    job_type: JobType = "pretrain"
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """The labels of a run; those without any where it has no file. ValueError where that is damaged."""
        if not run.labels.exists():
            return cls()
        try:
            values = json.loads(run.labels.read_text(encoding="utf-8"))
            return cls(**{**values, "tags": tuple(values.get("tags", ()))})
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise InputError(f"{run.labels}: not a file of labels ({error}); delete it") from None

    def write(self, run: RunDir) -> None:
        """Labels a run."""
        write_json(run.labels, asdict(self))
