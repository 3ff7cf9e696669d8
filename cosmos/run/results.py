"""Results of evaluations: results/<suite>.json of a run directory, an entry for each dataset and its data.

An entry says which data its figures are of, by `data_hash`, so that two datasets of one name have an entry
each. It has the identity of all that its figures depend on, too: an evaluation that was stopped, and is
started again, measures no entry of the same identity twice.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.figures import Figures
from cosmos.config.identity import SHORT_HASH, short_hash
from cosmos.errors import DamagedDataError, cut_reason
from cosmos.run.directory import RunDir
from cosmos.run.files import file_label, hashed_label, write_json
from cosmos.run.records import read_record

ResultEntry = dict[str, Any]
"""Results on one dataset: figures by model under `models`; checkpoint, data and protocol under other keys.

Under `intervals` are the ends [low, high] of the figures that have an interval, by model and metric.
"""

ENTRY_DEFAULTS: Mapping[str, Any] = {
    "models": {},
    "checkpoint": "",
    "checkpoint_sha256": "",
    "data": {},
    **dict.fromkeys(("data_hash", "title", "note", "precision", "code_version", "identity"), ""),
    "intervals": {},
    "chance": {},
    "published": {},
}
"""Keys of an entry, and the values of those that it may lack."""

REQUIRED_KEYS = ("models", "checkpoint", "checkpoint_sha256", "data")
"""Keys without which an entry in a file does not say what its figures are of."""


def overall_figures(figures: Figures) -> dict[str, float]:
    """Return figures without those of single classes, whose names have a slash."""
    return {metric: value for metric, value in figures.items() if "/" not in metric}


def interval_columns(intervals: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the ends of intervals by the names of their columns in a table: `top1 low`, `top1 high`."""
    return {
        f"{metric} {end}": value
        for metric, ends in overall_intervals(intervals).items()
        for end, value in zip(("low", "high"), ends, strict=True)
    }


def overall_intervals(intervals: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return intervals without those of single classes, whose names have a slash."""
    return {metric: ends for metric, ends in intervals.items() if "/" not in metric}


def hash_data(entry: Mapping[str, Any]) -> str:
    """Return the hash of the data that an entry's figures are of.

    It is that of the only file or folder under `data`, such as a manifest; of several, or of none, a hash of
    theirs and of the numbers of items.
    """
    hashes = sorted(entry["data"].values())
    if len(hashes) == 1:
        return str(hashes[0])
    return hashlib.sha256("\n".join([*hashes, *item_counts(entry)]).encode()).hexdigest()


def item_counts(entry: Mapping[str, Any]) -> list[str]:
    """Return the numbers of items of an entry's dataset, as texts."""
    return sorted(f"{key}={value}" for key, value in entry.items() if key.startswith("num_"))


def label_entries(entries: Sequence[ResultEntry]) -> dict[str, ResultEntry]:
    """Return entries by the name that every reader shows: `heldout`, or `heldout@1a2b3c4d` for other data.

    The plain name is that of the run's own data, or else of the data that was measured last; `entries` are in
    the order in which they were measured.
    """
    plain = {entry["dataset"]: entry for entry in sorted(entries, key=ownership)}
    return {
        name if entry is plain[name] else data_label(name, entry["data_hash"]): entry
        for name, entry in ((entry["dataset"], entry) for entry in entries)
    }


def ownership(entry: ResultEntry) -> int:
    """Return 2 for an entry of the run's own data, 0 for one of other data, 1 where that is not recorded."""
    is_own = entry.get("own_data")
    return 1 if is_own is None else 2 * bool(is_own)


MAX_ANSWERS_LABEL = 120
"""Bytes of a label of answers; a set of one's own may have a name that fits no file's."""


def data_label(name: str, data_hash: str) -> str:
    """Return the name of a dataset with the first digits of its hash."""
    return f"{name}@{short_hash(data_hash)}"


def is_of_other_data(figure: str) -> bool:
    """Return True for a result, or its data, that is marked as of other data than the run's own."""
    return re.search(rf"/[^/]+@[0-9a-f]{{{SHORT_HASH}}}(/|$)", figure) is not None


def supersedes(entry: ResultEntry, other: ResultEntry) -> bool:
    """Return True when `other` is of the same data, as far as it says: older versions name fewer files."""
    if entry["dataset"] != other["dataset"]:
        return False
    names_fewer = set(other["data"].values()) < set(entry["data"].values())
    is_part = names_fewer and item_counts(entry) == item_counts(other)
    return is_part or entry["data_hash"] == other["data_hash"]


@dataclass(frozen=True)
class ResultsFile:
    """Contents of a file of results, whose entries are checked one by one."""

    datasets: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Results file of a suite."""

    path: Path
    suite: str

    def entries(self) -> dict[str, ResultEntry]:
        """Return the entries by the name that `label_entries` gives them; {} where there is no file.

        Raises DamagedDataError where the file is damaged.
        """
        return label_entries(self._read())

    def figures(self) -> Figures:
        """Return the overall figures, by <suite>/<dataset>/<model>/<metric>. Raises as `entries`."""
        return {
            f"{self.suite}/{label}/{model}/{metric}": value
            for label, entry in self.entries().items()
            for model, figures in entry["models"].items()
            for metric, value in overall_figures(figures).items()
        }

    def data_hashes(self) -> dict[str, str]:
        """Return the hash of the data that figures are of, by <suite>/<dataset>. Raises as `entries`."""
        return {f"{self.suite}/{label}": entry["data_hash"] for label, entry in self.entries().items()}

    def find(self, dataset: str, identity: str) -> ResultEntry | None:
        """Return the entry of a dataset that has this `identity`; None where there is none."""
        entries = (entry for entry in self._read() if entry["dataset"] == dataset)
        return next((entry for entry in entries if entry["identity"] == identity), None)

    def put(self, dataset: str, entry: ResultEntry) -> ResultEntry:
        """Write the entry of a dataset, in place of the one of the same data, and return it as written."""
        whole = complete_entry(dataset, entry)
        kept = [other for other in self._read() if not supersedes(whole, other)]
        write_json(self.path, {"suite": self.suite, "datasets": label_entries([*kept, whole])})
        return whole

    def has_another(self, checkpoint: str) -> bool:
        """Return True where an entry is of another checkpoint, by its name. Raises as `entries`."""
        names = {entry["checkpoint"] for entry in self._read()} - {""}
        return any(Path(name) != Path(checkpoint) for name in names)

    def _read(self) -> list[ResultEntry]:
        """Return the entries in the order in which they were measured."""
        if not exists(self.path):
            return []
        entries = read_record(self.path, ResultsFile, "file of results", "delete it").datasets
        for name, entry in entries.items():
            if problem := problem_of_entry(entry) or problem_of_names(name, entry):
                raise self._damage(f"{name}: {problem}")
        return [complete_entry(name, entry) for name, entry in entries.items()]

    def _damage(self, reason: str) -> DamagedDataError:
        return DamagedDataError(f"{self.path}: not a file of results ({cut_reason(reason)}); delete it")


def results_of_checkpoint(run: RunDir, suite: str, checkpoint: str) -> Results:
    """Return a suite's results of a checkpoint in a run; "": of the run's newest one.

    Where the file of its label has those of another checkpoint, as of a/b.pt and a-b.pt, it has a hash.
    """
    results = Results(run.result_file(suite, checkpoint), suite)
    hashed = results.path.with_name(f"{suite}-{hashed_label(checkpoint)}.json")
    if checkpoint and (exists(hashed) or results.has_another(checkpoint)):
        return Results(hashed, suite)
    return results


def complete_entry(dataset: str, entry: ResultEntry) -> ResultEntry:
    """Return an entry with all its keys, and the hash of its data."""
    whole = {"dataset": dataset, **ENTRY_DEFAULTS, **entry}
    return {**whole, "data_hash": whole["data_hash"] or hash_data(whole)}


def problem_of_entry(entry: object) -> str:
    """Return the reason why a value in a file is no entry; "" for an entry."""
    if not isinstance(entry, dict):
        return f"{entry!r}"
    missing = [key for key in REQUIRED_KEYS if key not in entry]
    if missing:
        return f"no {', '.join(missing)}"
    values = {"dataset": "", **ENTRY_DEFAULTS}
    wrong = [key for key in values if key in entry and type(entry[key]) is not type(values[key])]
    if not wrong:
        wrong = [key for key, value in entry.items() if not has_values_of(key, value)]
    return f"{wrong[0]}: {entry[wrong[0]]!r}" if wrong else ""


def problem_of_names(dataset: str, entry: ResultEntry) -> str:
    """Return the reason why an entry's names cannot be parts of figures and files; "" where they can."""
    names = (entry.get("dataset", dataset), *entry["models"])
    return next((f"the name {name!r}" for name in names if "/" in name or "\0" in name), "")


def has_values_of(key: str, value: Any) -> bool:
    """Return True for a value, of the type of its key, that holds what readers take from it."""
    if key.startswith("num_"):
        return isinstance(value, int)
    if key == "published":  # older ones hold the figures, too
        return isinstance(value.get("checkpoint", ""), str)
    if key in VALUES_OF_KEYS:
        return all(map(VALUES_OF_KEYS[key], value.values()))
    is_right = VALUES_OF_MODELS.get(key)
    return not is_right or all(
        isinstance(part, dict) and all(map(is_right, part.values())) for part in value.values()
    )


def is_text(value: object) -> bool:
    """Return True for a text."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Return True for a number."""
    return isinstance(value, int | float)


def is_pair(value: object) -> bool:
    """Return True for a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


VALUES_OF_KEYS: Mapping[str, Callable[[object], bool]] = {
    "data": is_text,
    "chance": is_number,
}
"""Checks of the values of an entry, by the key that they lie under."""

VALUES_OF_MODELS: Mapping[str, Callable[[object], bool]] = {"models": is_number, "intervals": is_pair}
"""Checks of the values by metric of each model, by the key that they lie under."""


def image_values_path(results: Path, dataset: str, data_hash: str, model: str) -> Path:
    """Return the path of the file beside a results file that has the values of a dataset's images."""
    return results.with_name(f"{results.stem}-{answers_label(dataset, data_hash, model)}.npz")


def answers_label(dataset: str, data_hash: str, model: str) -> str:
    """Return the part of the names of files that says whose answers they have, to which data."""
    name = f"{data_label(dataset, data_hash)}-{model}"
    return name if len(name.encode("utf-8", "surrogatepass")) <= MAX_ANSWERS_LABEL else file_label(name)


def read_result_figures(file: Path) -> Figures:
    """Return the overall figures of a results file; see `Results.figures`."""
    return Results(file, file.stem).figures()
