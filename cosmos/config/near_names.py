"""Names near one that there is not, for messages."""

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import normalize

MAX_NAMES = 3
"""Number of near names in a message."""


def close_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names most like `name`, whatever their case and normal form; [] where none is like it."""
    by_folded = {fold_name(other): other for other in names}
    return [by_folded[match] for match in get_close_matches(fold_name(name), by_folded, MAX_NAMES)]


def fold_name(name: str) -> str:
    """Return a name in one case and one normal form: names from a Mac have letters and accents apart."""
    return normalize("NFC", name.casefold())


def near_names(name: str, names: Iterable[str], remedy: str = "") -> str:
    """Return `near it: ...` with the names like `name`; where none is, `remedy`, or all names."""
    names = list(names)
    if near := close_names(name, names):
        return f"near it: {', '.join(near)}"
    return remedy or f"there are: {', '.join(names) or 'none'}"
