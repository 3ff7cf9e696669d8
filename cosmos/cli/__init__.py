"""The `cosmos` command: one module for each group of subcommands, which parse, call and print.

Nothing is imported at first but the table of commands: pydantic and the class of a command once it is asked
for, what a command calls once its settings are valid. So --help, mistakes and lists answer at once.
"""

import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from cosmos.cli.commands import COMMANDS, DESCRIPTION
from cosmos.cli.output import discard_output, flush_output, is_output_closed
from cosmos.cli.parser import CommandParser
from cosmos.config.printable_text import (
    NewestErrorStream,
    PrintableFormatter,
    escape_unencodable,
    is_terminal,
    print_text,
)
from cosmos.distributed.stop_signals import ctrl_c_outcome, heed_stop_signals, was_stopped
from cosmos.errors import CosmosError, InputError, Interrupted, error_class, summarize_error

CLOSED_PIPE_STATUS = 128 + signal.SIGPIPE
"""Exit status of a command whose output nobody reads any more, as of those that SIGPIPE ends."""


def main() -> None:
    """Run the command. An error of a class in `errors` ends in its message and exit status, no traceback."""
    heed_stop_signals()
    escape_unencodable()
    set_up_logging()
    try:
        run_command()
    except KeyboardInterrupt:
        exit_with_message(*ctrl_c_outcome())
    except Interrupted as stop:
        exit_with_message(f"{stop}; the same command continues", stop.exit_status)
    except Exception as error:
        if was_stopped():
            exit_with_message(f"stopped ({error}); the same command continues", Interrupted.exit_status)
        if isinstance(error, BrokenPipeError) and is_output_closed():
            discard_output()
            sys.exit(CLOSED_PIPE_STATUS)
        its_class = error_class(error)
        if its_class is None:
            raise
        exit_with_message(summarize_error(name_output(error)), its_class.exit_status)


def name_output(error: Exception) -> Exception:
    """Return the error of a standard output that cannot be written to, for one that names no file."""
    if isinstance(error, CosmosError) or not isinstance(error, OSError) or error.filename:
        return error
    try:
        flush_output()
    except OSError as of_output:
        return of_output
    return error


def run_command() -> None:
    """Run the command that sys.argv has, and flush its output, also when --help or rich ends the process."""
    try:
        run_arguments(sys.argv[1:])
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich exits with 1 when its output is closed
            sys.exit(CLOSED_PIPE_STATUS)
        flush_output()
        raise
    flush_output()


def run_arguments(arguments: Sequence[str]) -> None:
    """Run the command that these arguments name. Raises InputError for those that do not fit."""
    name = next(iter(arguments), "")
    if name not in COMMANDS:
        name = parse_command(arguments)
    from cosmos.cli.command_line import run_command_line

    run_command_line(name, arguments)


def parse_command(arguments: Sequence[str]) -> str:
    """Return the command that arguments name, which do not begin with it; print --help, and exit.

    Raises InputError where they name none.
    """
    parser = CommandParser(prog="cosmos", description=DESCRIPTION, allow_abbrev=False)
    names = f"{{{','.join(COMMANDS)}}}"
    subparsers = parser.add_subparsers(title="subcommands", dest="command", metavar=names)
    for name, entry in COMMANDS.items():
        subparsers.add_parser(name, help=entry.summary)
    command = parser.parse_args(arguments).command
    if command is None:
        raise InputError("a command is missing; `cosmos --help` lists them")
    return str(command)


def set_up_logging() -> None:
    """Send log messages of the library to the error stream."""
    # a terminal has the progress bar; a job's log has a line where metrics.jsonl has one
    level = logging.WARNING if is_terminal(sys.stderr) else logging.INFO
    logging.basicConfig(stream=NewestErrorStream())
    handler = logging.getLogger().handlers[0]
    handler.setFormatter(PrintableFormatter("%(message)s"))
    handler.setLevel(level)
    logging.getLogger("cosmos").setLevel(logging.INFO)


def exit_with_message(message: str, status: int) -> NoReturn:
    """End the command with a message on the error stream, if there is one, and an exit status."""
    with suppress(OSError):  # of a terminal that is gone
        print_text(f"cosmos: {message}" if message else "", to_errors=True, end="\n" if message else "")
    try:
        flush_output()
    except OSError:  # a second failure, which must not replace the status of the first
        discard_output()
    sys.exit(status)
