"""`python -m cosmos`, which is how torchrun starts a rank, and the `cosmos` command."""

import sys
from contextlib import suppress

from cosmos.distributed.stop_signals import ctrl_c_outcome, heed_stop_signals
from cosmos.errors import Interrupted


def main() -> None:
    """Run the command; a signal is heeded before anything large is imported."""
    try:
        heed_stop_signals()
        from cosmos.cli import main as run_cosmos

        run_cosmos()
    except Interrupted as stop:
        exit_early(f"{stop}; the same command continues", stop.exit_status)
    except KeyboardInterrupt:
        exit_early(*ctrl_c_outcome())


def exit_early(message: str, status: int) -> None:
    """End the command, before it could be imported, with a message, if there is one, and an exit status."""
    with suppress(OSError):  # of a terminal that is gone
        from cosmos.config.printable_text import print_text

        print_text(f"cosmos: {message}\n" if message else "", to_errors=True, end="")
    sys.exit(status)


if __name__ == "__main__":
    main()
