"""Terminal for tables and coloured lines, which takes every text literally."""

from typing import Any

from rich.console import Console
from rich.text import Text

from cosmos.config.printable_text import error_stream, printable_lines


class Terminal(Console):
    """Console of Rich in which no text is markup, and control characters are shown as escapes.

    That holds for texts that it is given, and for those in tables; a `Text` is made by `plain_text`.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(file=error_stream() if stderr else None, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as Rich's, with the style and alignment among `options`."""
        literal = {**options, "markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable_lines(text), **literal)


def plain_text(text: str, style: str = "", **options: Any) -> Text:
    """Return lines as Rich's text, in which control characters are escapes; `options` are those of Rich."""
    return Text(printable_lines(text), style, **options)
