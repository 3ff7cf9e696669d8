"""Command that forecasts the end of runs."""

from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine


class ForecastCommand(Command):
    """Forecast the final loss and evaluations of runs, with intervals; of a sweep over sizes, the next run.

    A sweep, or several runs, that differ in model size or samples seen have a law of the final loss, too.
    """

    names: CliPositionalArg[list[str]]
    """runs, ids of sweeps, or names of sweeps (the newest)"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.compare.forecasts import print_forecasts

        self.print_json(print_forecasts(self.names, machine, quiet=self.as_json))
