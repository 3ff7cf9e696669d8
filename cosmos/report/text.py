"""Parameters as text for people."""

from typing import Any


def format_parameter(value: Any) -> str:
    """Return a parameter's value as a person would write it: `0.05`, `3`, `clip`; items joined by commas."""
    if isinstance(value, tuple | list):
        return ", ".join(map(format_parameter, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def parameter_label(path: str) -> str:
    """Return a parameter's name without its section: `momentum` of `pretrain.momentum`."""
    return path.rpartition(".")[2]


MAX_SHOWN_CAPTION = 300
"""Largest number of characters of a caption on a page, which is cut after them."""


MAX_SHOWN_NAME = 60
"""Largest number of characters of a class's name on a page."""


def cut_name(name: str) -> str:
    """Return the name of a class as a page shows it."""
    return cut_text(name, MAX_SHOWN_NAME)


def cut_text(text: str, length: int = MAX_SHOWN_CAPTION) -> str:
    """Return a text of at most `length` characters; an ellipsis stands for the rest."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
