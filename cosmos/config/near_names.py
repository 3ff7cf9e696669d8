"""Names near one that there is not, for messages."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAMES = 3
"""Number of near names in a message."""


def close_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names most like `name`, whatever their case; [] where none is like it."""
    by_folded = {other.casefold(): other for other in names}
    return [by_folded[match] for match in get_close_matches(name.casefold(), by_folded, MAX_NAMES)]


def near_names(name: str, names: Iterable[str], remedy: str = "") -> str:
    """Return `near it: ...` with the names like `name`; where none is, `remedy`, or all names."""
    names = list(names)
    if near := close_names(name, names):
        return f"near it: {', '.join(near)}"
    return remedy or f"there are: {', '.join(names) or 'none'}"
