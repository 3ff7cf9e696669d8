"""`python -m cosmos`, which is how torchrun starts a rank, and the `cosmos` command."""

import sys

from cosmos.config.printable_text import print_text
from cosmos.distributed.stop_signals import heed_stop_signals
from cosmos.errors import Interrupted


def main() -> None:
    """Run the command; a signal is heeded before anything large is imported."""
    try:
        heed_stop_signals()
        from cosmos.cli import main as run_cosmos

        run_cosmos()
    except Interrupted as stop:
        print_text(f"cosmos: {stop}; the same command continues", to_errors=True)
        sys.exit(stop.exit_status)


if __name__ == "__main__":
    main()
