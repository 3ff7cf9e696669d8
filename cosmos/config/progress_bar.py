"""Progress bars on the error stream, which no message shares a line with."""

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from cosmos.config.printable_text import error_stream, is_terminal


class ProgressBar(Progress):
    """Progress bar that shows on a terminal alone; what is printed or logged there meanwhile comes above."""

    def __init__(
        self, *columns: str | ProgressColumn, is_shown: bool = True, transient: bool = False
    ) -> None:
        super().__init__(
            *columns,
            console=Console(file=error_stream(), markup=False, emoji=False, highlight=False),
            transient=transient,
            redirect_stdout=is_terminal(sys.stdout),  # a pipe gets what is printed, bar or not
            disable=not (is_shown and is_terminal(sys.stderr)),
        )
