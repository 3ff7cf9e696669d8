import logging
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from cosmos.config.printable_text import (
    PrintableFormatter,
    cosmos_command,
    error_stream,
    print_text,
    printable,
    printable_lines,
)
from tests.hostile_texts import HOSTILE_TEXTS

PLAIN_NAMES = ["cosmos/evaluation/classification/published_sets.py"]
"""Modules whose commands name datasets of ours alone."""


def test_control_characters_and_direction_marks_become_escapes() -> None:
    assert printable("naïve caption") == "naïve caption"
    assert printable("a\x1b[2J\n\u202eb\0\udcff") == r"a\x1b[2J\n\u202eb\x00\udcff"
    assert printable_lines("a\n\tb\r\x1b") == "a\n\tb\\r\\x1b"


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_a_command_for_a_shell_has_each_word_as_it_is(text: str) -> None:
    assert shlex.split(cosmos_command("attach", text)) == ["cosmos", "attach", text]


def test_commands_in_messages_have_their_names_quoted() -> None:
    unquoted = re.compile(r"[`'\"]cosmos [a-z -]+\{")
    sources = [path for folder in ("cosmos", "flows") for path in Path(folder).rglob("*.py")]
    assert [str(path) for path in sources if unquoted.search(path.read_text())] == PLAIN_NAMES


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
