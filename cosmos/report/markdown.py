"""Text from strangers in Markdown: shown literally, on one line, also in the cell of a table."""

import re

from cosmos.config.printable_text import printable


def markdown_text(text: str) -> str:
    """Return Markdown that shows `text` literally."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(text))


def markdown_code(text: str) -> str:
    """Return Markdown that shows `text` literally, as code unless a sign in it would end that."""
    shown = printable(text)
    return markdown_text(text) if {"`", "|"} & set(shown) or not shown.strip() else f"`{shown}`"
