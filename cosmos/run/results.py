"""results/<suite>.json: what was measured, an entry for each dataset.

An entry names the identity of all that its figures depend on: an evaluation that was stopped goes on from
what was measured under the same one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.errors import InputError
from cosmos.run.files import write_json

ResultFigures = dict[str, float]
ResultEntry = dict[str, Any]


def overall_figures(figures: Mapping[str, float]) -> ResultFigures:
    """Figures without those of single classes."""
    return {metric: value for metric, value in figures.items() if "/" not in metric}


def read_result_figures(file: Path) -> ResultFigures:
    """Overall figures of a results file, as <suite>/<dataset>/<model>/<metric>. ValueError as `entries`."""
    return {
        f"{file.stem}/{dataset}/{model}/{metric}": value
        for dataset, entry in Results(file, file.stem).entries().items()
        for model, figures in entry["models"].items()
        for metric, value in overall_figures(figures).items()
    }


@dataclass(frozen=True)
class Results:
    """The results file of a suite."""

    path: Path
    suite: str

    def entries(self) -> dict[str, ResultEntry]:
        """Entries by dataset; {} where there is no file. ValueError for a file of another form."""
        if not self.path.exists():
            return {}
        try:
            entries: dict[str, ResultEntry] = json.loads(self.path.read_text(encoding="utf-8"))["datasets"]
            return entries
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}: not a file of results ({error!r}); delete it") from None

    def measured(self, dataset: str, identity: str) -> dict[str, ResultFigures]:
        """Figures by model that a dataset's entry has under `identity`."""
        entry = self.entries().get(dataset, {})
        models: dict[str, ResultFigures] = (
            entry.get("models", {}) if entry.get("identity") == identity else {}
        )
        return models

    def put(self, dataset: str, entry: ResultEntry) -> None:
        """Writes the entry of a dataset, in place of the one before."""
        write_json(self.path, {"suite": self.suite, "datasets": {**self.entries(), dataset: entry}})
