"""Output of a stage: to a person, and into the run's log."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cosmos.config.disk_reading import refuse_pipe
from cosmos.config.printable_text import PrintableFormatter, print_text
from cosmos.distributed.exchange import on_each_rank
from cosmos.distributed.group import ProcessRank
from cosmos.errors import summarize_error
from cosmos.run.directory import RunDir
from cosmos.run.files import naming_disk_errors


def print_on_first_rank(text: str, process: ProcessRank, quiet: bool) -> None:
    """Print for a person, from the first rank alone, unless `quiet`."""
    if process.is_first and not quiet:
        print_text(text)


@contextmanager
def logging_to_run(run: RunDir, process: ProcessRank) -> Iterator[None]:
    """Append the log records of the first rank to the run's log as well; all ranks call it together."""
    handler = on_each_rank(lambda: open_log(run) if process.is_first else logging.NullHandler())
    logging.getLogger("cosmos").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("cosmos").removeHandler(handler)
        handler.close()


class RunLogHandler(logging.FileHandler):
    """Handler that appends to a run's log; a disk that is full or fails stops nothing, and is told once."""

    is_whole = True
    """False once a record could not be written"""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Tell the first record that cannot be written, on the error stream."""
        if self.is_whole:
            self.is_whole = False
            reason = summarize_error(sys.exception() or OSError())
            print_text(f"{self.baseFilename}: lines are missing from here: {reason}", to_errors=True)

    def close(self) -> None:
        """Close the log. Lines that were waiting for room are lost where there is none."""
        with suppress(OSError):
            super().close()


def open_log(run: RunDir) -> logging.Handler:
    """Return a handler that appends to the run's log. Raises TransientError where the disk fails."""
    with naming_disk_errors(run.log):
        run.path.mkdir(parents=True, exist_ok=True)
        refuse_pipe(run.log)
        handler = RunLogHandler(run.log, encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
