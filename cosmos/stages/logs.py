"""Output of a stage: to a person, and into the run's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cosmos.config.printable_text import PrintableFormatter, print_text
from cosmos.distributed.exchange import on_each_rank
from cosmos.distributed.group import ProcessRank
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


def open_log(run: RunDir) -> logging.Handler:
    """Return a handler that appends to the run's log. Raises TransientError where the disk fails."""
    with naming_disk_errors(run.log, run.path):
        run.path.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(run.log, encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
