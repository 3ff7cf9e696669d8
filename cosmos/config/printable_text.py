"""Text from strangers as people may see it: names, captions, messages and logs in a terminal, file or page.

A text is shown as it is, but for characters that would do something: control and escape characters, line
breaks, marks that change the direction of reading, and bytes of file names that are not UTF-8. Those are
shown as escapes. What goes to a terminal goes through `print_text`, `PrintableFormatter` or, for tables and
colours, `cosmos.report.terminal`; none of them interprets markup.
"""

import logging
import os
import shlex
import shutil
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, Any, cast

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of what spreadsheets take for a formula, also of full width."""


def printable(text: str) -> str:
    """Return `text` with its control characters, line breaks and direction marks as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return `text` as `printable`, but with its line breaks and tabs as they are."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def encodable_text(text: str) -> str:
    """Return text with escapes for what UTF-8 cannot encode: names of folders may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def harmless_cell(text: str) -> str:
    """Return text for a cell of CSV, with `'` before what a spreadsheet would take for a formula.

    Control characters are escapes, as in `printable`. Source: OWASP, CSV injection.
    """
    shown = printable(text)
    return f"'{shown}" if text.startswith(FORMULA_SIGNS) else shown


def cosmos_command(*words: str) -> str:
    """Return a command of cosmos for a shell: each word stays one, and none is executed."""
    return shlex.join(["cosmos", *words])


def print_text(text: str, to_errors: bool = False, end: str = "\n") -> None:
    """Print lines for a person, on the error stream or else on the output, at once."""
    stream = sys.stderr if to_errors else sys.stdout
    print(printable_lines(text), file=stream, end=end, flush=True)


def output_text(text: str) -> str:
    """Return text with escapes for what the output's encoding lacks: they take more room than letters."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)


UNLIMITED_WIDTH = 1_000_000
"""Characters of a line that is cut nowhere."""


def output_width() -> int:
    """Return the characters of a line of the output: those of a terminal, or COLUMNS; otherwise any number.

    `watch` reads from a pipe, and sets COLUMNS.
    """
    columns = os.environ.get("COLUMNS", "")
    is_limited = is_terminal(sys.stdout) or (columns.isdecimal() and int(columns) > 0)
    return shutil.get_terminal_size().columns if is_limited else UNLIMITED_WIDTH


def is_terminal(stream: IO[str] | None) -> bool:
    """Return True for a stream that a person sees; False for a pipe or a file, and where there is none."""
    return stream is not None and stream.isatty()


def escape_unencodable() -> None:
    """Have output show as escapes what its encoding lacks: Latin-1, or the ASCII of a locale, lacks much."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class ErrorStream:
    """Error stream for a progress bar, which ends when nobody can see it any more, and stops no work.

    The terminal may be closed, and a reader may end as `| head` does.
    """

    def __init__(self) -> None:
        self.stream = sys.stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, if that can be seen."""
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Show what was written, if that can be seen."""
        with suppress(OSError):
            self.stream.flush()


def error_stream() -> IO[str]:
    """Return the stream of progress bars."""
    return cast(IO[str], ErrorStream())


class NewestErrorStream:
    """Error stream for messages: the one of each moment, which a progress bar replaces to be below them."""

    def write(self, text: str) -> None:
        """Write a text."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Show what was written."""
        sys.stderr.flush()


class PrintableFormatter(logging.Formatter):
    """Formatter of log records that shows control characters in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text of one or more lines."""
        return printable_lines(super().format(record))
