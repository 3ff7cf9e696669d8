"""Results of evaluations: results/<suite>.json of a run directory, with an entry for each dataset.

An entry has the identity of all that its figures depend on: an evaluation that was stopped, and is started
again, measures no entry of the same identity twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.config.figures import Figures
from cosmos.errors import DamagedDataError
from cosmos.run.files import read_json_object, write_json

ResultEntry = dict[str, Any]
"""Results on one dataset: figures by model under `models`; checkpoint, data and protocol under other keys."""


def overall_figures(figures: Figures) -> dict[str, float]:
    """Return figures without those of single classes, whose names have a slash."""
    return {metric: value for metric, value in figures.items() if "/" not in metric}


def read_result_figures(file: Path) -> Figures:
    """Return the overall figures of a results file, by <suite>/<dataset>/<model>/<metric>.

    Raises DamagedDataError where the file is damaged.
    """
    entries = Results(file, file.stem).entries()
    try:
        return {
            f"{file.stem}/{dataset}/{model}/{metric}": value
            for dataset, entry in entries.items()
            for model, figures in entry["models"].items()
            for metric, value in overall_figures(figures).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedDataError(f"{file}: not a file of results ({error!r}); delete it") from None


@dataclass(frozen=True)
class Results:
    """Results file of a suite."""

    path: Path
    suite: str

    def entries(self) -> dict[str, ResultEntry]:
        """Return the entries by dataset; {} where there is no file.

        Raises DamagedDataError where the file is damaged.
        """
        if not self.path.exists():
            return {}
        entries = read_json_object(self.path, "file of results", "delete it", ["datasets"])["datasets"]
        if not isinstance(entries, dict):
            raise DamagedDataError(f"{self.path}: not a file of results (datasets: {entries!r}); delete it")
        return entries

    def measured(self, dataset: str, identity: str) -> dict[str, Figures]:
        """Return the figures by model of a dataset's entry, if it has this `identity`; {} otherwise."""
        entry = self.entries().get(dataset, {})
        models: dict[str, Figures] = entry.get("models", {}) if entry.get("identity") == identity else {}
        return models

    def put(self, dataset: str, entry: ResultEntry) -> None:
        """Write the entry of a dataset, in place of the one before."""
        write_json(self.path, {"suite": self.suite, "datasets": {**self.entries(), dataset: entry}})
