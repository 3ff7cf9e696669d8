"""How a person asks about runs: keys, conditions, an order.

A row is all that is known of a run, by key: what it is and belongs to, its parameters by path, its metrics.
What is not known of it is not in its row; None is a parameter that is set to nothing.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cosmos.errors import InputError
from cosmos.registry.record import RunRecord, Scalar

Value = Scalar | tuple[str, ...]
Row = Mapping[str, Value]

KEYS = (
    "name", "status", "alive", "heartbeat", "started", "tags", "group", "job_type", "trial", "trial_seed",
    "commit", "job", "problem",
)  # fmt: skip
"""What a run is and belongs to."""

ALIASES = {"tag": "tags"}

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

CONDITION = re.compile(r"\s*(?P<key>.+?)\s*(?P<operator>!=|<=|>=|==?|<|>|~)\s*(?P<text>.*?)\s*", re.DOTALL)

MAX_LISTED = 8
"""Keys that a message lists."""


def row(record: RunRecord) -> Row:
    """All that is known of a run, by key."""
    known: dict[str, Value] = {
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
        "problem": record.problem or None,
    }
    there = {key: value for key, value in known.items() if value is not None}
    return {**record.metrics, **record.params, **there}


def known_keys(records: Iterable[RunRecord]) -> list[str]:
    """All keys: what runs are, then the parameters and the metrics that any of them has."""
    params, metrics = dict[str, None](), dict[str, None]()
    for record in records:
        params.update(dict.fromkeys(record.params))
        metrics.update(dict.fromkeys(record.metrics))
    return list(dict.fromkeys([*KEYS, *params, *metrics]))


def resolve(text: str, known: Sequence[str]) -> str:
    """The key that a person means: it, or an end of it that no other key has.

    ValueError where several have it, or none.
    """
    text = ALIASES.get(text, text)
    if text in known:
        return text
    for boundaries in ("./", "_"):
        ends = [key for key in known if key.endswith(tuple(f"{one}{text}" for one in boundaries))]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise InputError(f"{text}: {len(ends)} keys end in that; say which: {listed(ends)}")
    raise InputError(f"{text!r}: no run has that; {near(text, known)}")


def near(text: str, known: Sequence[str]) -> str:
    """Keys that a person may have meant."""
    by_end = {re.split("[./]", key)[-1]: key for key in reversed(known)} | {key: key for key in known}
    found = dict.fromkeys(by_end[end] for end in difflib.get_close_matches(text, by_end, MAX_LISTED))
    return f"near it: {listed(list(found))}" if found else "`cosmos runs show RUN` lists what a run has"


def listed(keys: Sequence[str]) -> str:
    """Keys, as far as there is room."""
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return ", ".join(keys[:MAX_LISTED]) + more


@dataclass(frozen=True)
class Condition:
    """What must hold of a run."""

    key: str
    operator: str
    text: str

    @classmethod
    def parse(cls, text: str, resolve: Callable[[str], str]) -> Self:
        """The condition that a person wrote, its key resolved. ValueError where it is none."""
        found = CONDITION.fullmatch(text)
        if not found:
            raise InputError(f"--where {text}: not a condition; key=value, or != < <= > >= ~ in place of =")
        key = resolve(found["key"])
        if key == "tags" and found["operator"] in ORDERS:
            raise InputError(f"--where {text}: tags have no order; =, != and ~ would do")
        return cls(key, found["operator"].replace("==", "="), found["text"])

    def holds(self, row: Row) -> bool:
        """Whether it holds of a run; only != does of one that does not have the key.

        ValueError where a number would be compared with something else.
        """
        if self.key not in row:
            return self.operator == "!="
        value = row[self.key]
        if self.operator == "=":
            return self.is_equal(value)
        if self.operator == "!=":
            return not self.is_equal(value)
        if self.operator == "~":
            return any(self.text in one for one in (value if isinstance(value, tuple) else (words(value),)))
        return self.is_ordered(value)

    def is_equal(self, value: Value) -> bool:
        """Whether a value is the one that was written."""
        if isinstance(value, tuple):
            return self.text in value
        if value is None or isinstance(value, bool):
            return self.text.lower() in (words(value), "null" if value is None else "")
        return value == (self.text if isinstance(value, str) else as_number(self.text))

    def is_ordered(self, value: Value) -> bool:
        """Whether a number or a text is on the right side; nothing else is on any."""
        compare = ORDERS[self.operator]
        if isinstance(value, str):
            return compare(value, self.text)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        number = as_number(self.text)
        if number is None:
            raise InputError(f"--where {self.key}{self.operator}{self.text}: {self.text!r} is no number")
        return compare(value, number)


def conditions(texts: Iterable[str], resolve: Callable[[str], str]) -> list[Condition]:
    """The conditions of a command line. What came apart at a comma within a value is put together again."""
    whole: list[str] = []
    for text in texts:
        if whole and not CONDITION.fullmatch(text):
            whole[-1] += f",{text}"
        else:
            whole.append(text)
    return [Condition.parse(text, resolve) for text in whole]


def ordered(rows: Iterable[Row], key: str, descending: bool) -> list[Row]:
    """Rows by what they have under a key, numbers before texts; those that have nothing there come last."""
    there, rest = list[Row](), list[Row]()
    for one in rows:
        (rest if one.get(key) is None else there).append(one)
    return sorted(there, key=lambda one: place(one[key]), reverse=descending) + rest


def place(value: Value) -> tuple[bool, float, str]:
    """Where a value stands in an order."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, words(value)


def as_number(text: str) -> float | None:
    """The number that a text says; None where it says none."""
    try:
        return float(text)
    except ValueError:
        return None


def words(value: Value) -> str:
    """A value as text: true, none, a,b."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
