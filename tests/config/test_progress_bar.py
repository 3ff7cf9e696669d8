"""Progress bars on a pseudo-terminal, which shows what a person would see."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from rich.progress import BarColumn, TextColumn

from cosmos.config.printable_text import NewestErrorStream, print_text
from cosmos.config.progress_bar import ProgressBar

MESSAGES = ("damaged: [/x] a.jpg", "trial-0001: begun", "step 3 is not evaluated")


class PseudoTerminal:
    """Terminal of eighty columns, whose lines are read as they are written."""

    def __init__(self) -> None:
        self.reader, writer = os.openpty()
        self.stream, self.shown = os.fdopen(writer, "w"), bytearray()
        self.thread = Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self) -> None:
        """Read until the terminal is closed: a terminal that nobody reads keeps its writers waiting."""
        with suppress(OSError):
            while content := os.read(self.reader, 4096):
                self.shown += content

    def lines(self) -> list[str]:
        """Close the terminal, and return its lines, each as the last writing left it."""
        self.stream.close()
        self.thread.join(10)
        lines = self.shown.decode().replace("\r\n", "\n").split("\n")
        return [line.rpartition("\x1b[2K")[2].rpartition("\r")[2] for line in lines]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PseudoTerminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = PseudoTerminal()
    yield terminal
    os.close(terminal.reader)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger with the handler of the command."""
    logger, handler = logging.getLogger("bars"), logging.StreamHandler(NewestErrorStream())
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def work_with(messages: tuple[str, str, str], logger: logging.Logger) -> None:
    """Advance a bar, and log or print a message after each step."""
    logged, printed, told = messages
    with ProgressBar(TextColumn("work", markup=False), BarColumn()) as bar:
        task = bar.add_task("", total=3)
        tells = partial(logger.warning, logged), partial(print_text, printed), partial(print_text, told, True)
        for tell in tells:
            bar.advance(task)
            bar.refresh()
            tell()


def test_no_message_shares_a_line_with_a_bar(
    terminal: PseudoTerminal, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    work_with(MESSAGES, logger)
    lines = terminal.lines()
    assert [line for line in lines if any(message in line for message in MESSAGES)] == [*MESSAGES]
    assert sum("work" in line for line in lines) == 1


def test_what_is_printed_into_a_pipe_stays_out_of_the_terminal(
    terminal: PseudoTerminal, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr(sys, "stdout", pipe := io.StringIO())
    work_with(MESSAGES, logger)
    assert pipe.getvalue() == f"{MESSAGES[1]}\n"
    assert not any(MESSAGES[1] in line for line in terminal.lines())


def test_a_file_of_errors_has_the_messages_and_no_bar(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "errors").open("w") as errors:
        monkeypatch.setattr(sys, "stderr", errors)
        monkeypatch.setenv("FORCE_COLOR", "1")
        work_with(MESSAGES, logger)
    assert (tmp_path / "errors").read_text() == f"{MESSAGES[0]}\n{MESSAGES[2]}\n"
