"""results/<suite>.json: what was measured, an entry for each dataset.

An entry names the identity of all that its figures depend on: an evaluation that was stopped goes on from
what was measured under the same one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.files import write_json

Figures = dict[str, float]
Entry = dict[str, Any]


def overall(figures: Mapping[str, float]) -> Figures:
    """Figures without those of single classes."""
    return {metric: value for metric, value in figures.items() if "/" not in metric}


@dataclass(frozen=True)
class Results:
    """The results file of a suite."""

    path: Path
    suite: str

    def entries(self) -> dict[str, Entry]:
        """Entries by dataset; {} where there is no file. ValueError for a file of another form."""
        if not self.path.exists():
            return {}
        try:
            entries: dict[str, Entry] = json.loads(self.path.read_text(encoding="utf-8"))["datasets"]
            return entries
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: not a file of results ({error!r}); delete it") from None

    def measured(self, dataset: str, identity: str) -> dict[str, Figures]:
        """Figures by model that a dataset's entry has under `identity`."""
        entry = self.entries().get(dataset, {})
        models: dict[str, Figures] = entry.get("models", {}) if entry.get("identity") == identity else {}
        return models

    def put(self, dataset: str, entry: Entry) -> None:
        """Writes the entry of a dataset, in place of the one before."""
        write_json(self.path, {"suite": self.suite, "datasets": {**self.entries(), dataset: entry}})
