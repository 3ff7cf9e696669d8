import logging
import os
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from cosmos.config.printable_text import (
    PrintableFormatter,
    error_stream,
    print_text,
    printable,
    printable_lines,
)
from tests.hostile_texts import HOSTILE_TEXTS


def test_control_characters_and_direction_marks_become_escapes() -> None:
    assert printable("naïve caption") == "naïve caption"
    assert printable("a\x1b[2J\n\u202eb\0\udcff") == r"a\x1b[2J\n\u202eb\x00\udcff"
    assert printable_lines("a\n\tb\r\x1b") == "a\n\tb\\r\\x1b"


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_no_text_does_anything_in_a_terminal_or_a_log(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_text(text)
    print_text(text, to_errors=True, end="")
    printed = capsys.readouterr()
    record = logging.LogRecord("cosmos", logging.WARNING, "", 0, "%s", (text,), None)
    shown = PrintableFormatter("%(message)s").format(record)
    assert printed.out == f"{shown}\n"
    assert printed.err == shown
    assert shown.replace("\n", "").replace("\t", "").isprintable()


def test_a_progress_bar_that_nobody_can_see_any_more_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w", buffering=1))
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sys.stderr.write("a line\n")
    with Progress(console=Console(file=error_stream(), force_terminal=True)) as bar:
        bar.advance(bar.add_task("work", total=1))
