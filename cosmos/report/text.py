"""Values and names as plain text for people; without Rich, so that lists of runs start quickly."""

from typing import Any


def printable(text: str) -> str:
    """Return `text` with its control characters, line breaks and direction marks as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_parameter(value: Any) -> str:
    """Return a parameter's value as a person would write it: `0.05`, `3`, `clip`; items joined by commas."""
    if isinstance(value, tuple | list):
        return ", ".join(map(format_parameter, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def parameter_label(path: str) -> str:
    """Return a parameter's name without its section: `momentum` of `pretrain.momentum`."""
    return path.rpartition(".")[2]
