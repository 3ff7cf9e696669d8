"""Queries of runs: rows of values by key, resolution of abbreviated keys, conditions, sorting.

A row has the values of a run's record by key: status and labels, parameters by path, metrics. A value that is
not known is not in the row; None is a parameter that is set to null.
"""

import difflib
import operator
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from cosmos.config.figures import TRAINING_DATA, data_of_figure
from cosmos.config.identity import short_hash
from cosmos.errors import InputError
from cosmos.registry.record import TRAINING_DATA_KEY, RecordValue, RunRecord
from cosmos.run.results import data_label, is_of_other_data

RowValue = RecordValue | tuple[str, ...]
RunRow = Mapping[str, RowValue]
"""Values of a run by key."""

RUN_KEYS = (
    "name", "status", "alive", "heartbeat", "started", "tags", "group", "job_type", "trial", "trial_seed",
    "commit", "job", "breaches", "problem",
)  # fmt: skip
"""Keys beside parameters and metrics."""

DATA_PREFIX = "data/"
"""Beginning of the keys of hashes of the data that results are of."""

KEY_ALIASES = {"tag": "tags"}

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

CONDITION_PATTERN = re.compile(
    r"\s*(?P<key>.+?)\s*(?P<operator>!=|<=|>=|==?|<|>|~)\s*(?P<text>.*?)\s*", re.DOTALL
)

MAX_LISTED_KEYS = 8
"""Largest number of keys that a message lists."""


def run_row(record: RunRecord) -> RunRow:
    """Return the row of a run."""
    values: dict[str, RowValue] = {
        "name": record.name,
        "status": record.status,
        "alive": record.is_alive,
        "heartbeat": round(record.seconds_silent, 1) if record.is_alive else None,
        "started": record.started or None,
        "tags": record.tags or None,
        "group": record.group or None,
        "job_type": record.job_type,
        "trial": record.trial,
        "trial_seed": record.trial_seed,
        "commit": record.commit or None,
        "job": record.job or None,
        "breaches": record.breaches or None,
        "problem": record.problem or None,
    }
    present = {key: value for key, value in values.items() if value is not None}
    data = {f"{DATA_PREFIX}{name}": data_hash for name, data_hash in record.data.items()}
    return {**record.metrics, **record.params, **record.dataset, **data, **present}


def data_key(figure: str) -> str:
    """Return the key of the hash of a figure's data."""
    name = data_of_figure(figure)
    return TRAINING_DATA_KEY if name == TRAINING_DATA else f"{DATA_PREFIX}{name}"


def data_version(row: RunRow, figure: str) -> str:
    """Return the hash of the data that a row's figure is of; "" for no data, and where it is not recorded."""
    return str(row.get(data_key(figure), ""))


def data_mark(version: str) -> str:
    """Return the text that marks a figure with its data: `@1a2b3c4d`."""
    return f"@{short_hash(version) or 'unknown'}"


def shared_names(data: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    """Return names with a hash, by which other runs have results of the same data, by the name of this run's.

    `data`: hashes of the data of this run's results, by name; `names`: names of the results of all runs.
    """
    labels = {name: label_with_data(name, version) for name, version in data.items() if "/" in name}
    return {name: label for name, label in labels.items() if label in names and label not in data}


def label_with_data(name: str, version: str) -> str:
    """Return the name of a result, or of its dataset, with its data: retrieval/heldout@1a2b3c4d."""
    suite, dataset, *rest = name.split("/", 2)
    return "/".join([suite, data_label(dataset, version), *rest])


def with_shared_names(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the records, in which results of the same data have the same name, whose run's own it may be.

    The `heldout` of a run is `heldout@1a2b3c4d`, too, where another run was measured on it by that name.
    """
    names = {name for record in records for name in record.data}
    return [with_labels_of_data(record, shared_names(record.data, names)) for record in records]


def with_labels_of_data(record: RunRecord, labels: Mapping[str, str]) -> RunRecord:
    """Return a record that has the results on some datasets by their labels, too."""
    if not labels:
        return record
    metrics = {
        f"{label}{figure.removeprefix(name)}": value
        for name, label in labels.items()
        for figure, value in record.metrics.items()
        if data_of_figure(figure) == name
    }
    data = {label: record.data[name] for name, label in labels.items()}
    return replace(record, metrics={**record.metrics, **metrics}, data={**record.data, **data})


def mixed_figures(rows: Sequence[RunRow], keys: Iterable[str]) -> list[str]:
    """Return those of the keys whose figures in these rows are of different data."""
    return [key for key in keys if len({data_version(row, key) for row in rows if key in row}) > 1]


def all_keys(records: Iterable[RunRecord]) -> list[str]:
    """Return RUN_KEYS, then the parameters, the keys of data and the metrics that any run has."""
    params, metrics, data = dict[str, None](), dict[str, None](), dict[str, None]()
    for record in records:
        data.update(dict.fromkeys(f"{DATA_PREFIX}{name}" for name in record.data))
        params.update(dict.fromkeys([*record.params, *record.dataset]))
        metrics.update(dict.fromkeys(record.metrics))
    return list(dict.fromkeys([*RUN_KEYS, *params, *metrics, *data]))


def resolve_key(text: str, keys: Sequence[str]) -> str:
    """Return the key that `text` means: the same, or the only one that ends in it.

    A figure of other data than the run's own (`heldout@1a2b3c4d`) is meant only where there is no other.
    InputError where several keys end in it, or none.
    """
    text = KEY_ALIASES.get(text, text)
    if text in keys:
        return text
    for boundaries in ("./", "_"):
        ends = [key for key in keys if key.endswith(tuple(f"{mark}{text}" for mark in boundaries))]
        of_own_data = [key for key in ends if not is_of_other_data(key)]
        if len(ends) == 1 or len(of_own_data) == 1:
            return [*of_own_data, *ends][0]
        if ends:
            raise InputError(f"{text}: {len(ends)} keys end in that; say which: {join_keys(ends)}")
    raise InputError(f"{text!r}: no run has that; {suggest_keys(text, keys)}")


def suggest_keys(text: str, keys: Sequence[str]) -> str:
    """Return a hint at keys that `text` may have meant."""
    by_end = {re.split("[./]", key)[-1]: key for key in reversed(keys)} | {key: key for key in keys}
    similar = dict.fromkeys(by_end[end] for end in difflib.get_close_matches(text, by_end, MAX_LISTED_KEYS))
    return (
        f"near it: {join_keys(list(similar))}" if similar else "`cosmos runs show RUN` lists what a run has"
    )


def join_keys(keys: Sequence[str]) -> str:
    """Return the first keys as a text, and the number of others."""
    more = f" and {len(keys) - MAX_LISTED_KEYS} more" if len(keys) > MAX_LISTED_KEYS else ""
    return ", ".join(keys[:MAX_LISTED_KEYS]) + more


@dataclass(frozen=True)
class Condition:
    """Condition on a run: the value of a key compared with a text."""

    key: str
    operator: str
    text: str

    @classmethod
    def parse(cls, text: str, resolve: Callable[[str], str]) -> Self:
        """Return the condition in `text`, such as `loss<2`, its key resolved. InputError where it is none."""
        match = CONDITION_PATTERN.fullmatch(text)
        if not match:
            raise InputError(f"--where {text}: not a condition; key=value, or != < <= > >= ~ in place of =")
        key = resolve(match["key"])
        if key == "tags" and match["operator"] in COMPARISONS:
            raise InputError(f"--where {text}: tags have no order; =, != and ~ would do")
        return cls(key, match["operator"].replace("==", "="), match["text"])

    def holds(self, row: RunRow) -> bool:
        """Return True when it holds for a run; for one without the key only != does.

        InputError where a number would be compared with something else.
        """
        if self.key not in row:
            return self.operator == "!="
        value = row[self.key]
        if self.operator == "=":
            return self.is_equal(value)
        if self.operator == "!=":
            return not self.is_equal(value)
        if self.operator == "~":
            texts = value if isinstance(value, tuple) else (value_text(value),)
            return any(self.text in text for text in texts)
        return self.is_ordered(value)

    def is_equal(self, value: RowValue) -> bool:
        """Return True when a value is the one in the condition."""
        if isinstance(value, tuple):
            return self.text in value
        if value is None:
            return self.text.lower() in ("none", "null")
        if isinstance(value, bool):
            return self.text.lower() == value_text(value)
        return value == (self.text if isinstance(value, str) else parse_number(self.text))

    def is_ordered(self, value: RowValue) -> bool:
        """Return True when a number or text compares with the condition's as its operator has it."""
        compare = COMPARISONS[self.operator]
        if isinstance(value, str):
            return compare(value, self.text)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        number = parse_number(self.text)
        if number is None:
            raise InputError(f"--where {self.key}{self.operator}{self.text}: {self.text!r} is no number")
        return compare(value, number)


def parse_conditions(texts: Iterable[str], resolve: Callable[[str], str]) -> list[Condition]:
    """Return the conditions of a command line; rejoin values that its parser split at a comma.

    InputError for a text that is no condition.
    """
    whole: list[str] = []
    for text in texts:
        if whole and not CONDITION_PATTERN.fullmatch(text):
            whole[-1] += f",{text}"
        else:
            whole.append(text)
    return [Condition.parse(text, resolve) for text in whole]


def sort_rows(rows: Iterable[RunRow], key: str, descending: bool) -> list[RunRow]:
    """Return rows sorted by the value of a key, numbers before texts; those without one come last."""
    with_value, without = list[RunRow](), list[RunRow]()
    for row in rows:
        (without if row.get(key) is None else with_value).append(row)
    return sorted(with_value, key=lambda row: sort_position(row[key]), reverse=descending) + without


def sort_position(value: RowValue) -> tuple[bool, float, str]:
    """Return a sort key of values of any type."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, value_text(value)


def parse_number(text: str) -> float | None:
    """Return the number in a text; None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def value_text(value: RowValue) -> str:
    """Return a value as text: true, none, a,b."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
