"""Standard output of a command, which may be a full disk, or a pipe that nobody reads any more."""

import os
import select
import sys


def flush_output() -> None:
    """Write out what was printed; do nothing where the process was started without a standard output.

    Raises OSError that names the standard output where its disk is full or fails.
    """
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "the standard output") from None


def is_output_closed() -> bool:
    """Return True when standard output is a pipe whose reader has ended, as `| head` does."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def discard_output() -> None:
    """Point standard output to the null device, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
