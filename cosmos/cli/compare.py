"""Commands that set runs beside each other, and keep the best."""

from pathlib import Path

from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine


class CompareCommand(Command):
    """Set runs, or the trials of a sweep, beside each other: a table here, and curves and plots on a page."""

    names: CliPositionalArg[list[str]]
    """runs, ids of sweeps, or names of sweeps (the newest)"""
    output: Path | None = None
    """file of the page; without one: compare/<names>.html in the folder of runs"""
    wandb: bool = False
    """save a workspace of the sweep in Weights & Biases, too"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.compare.commands import save_workspace, write_comparison
        from cosmos.search.study_plots import plot_study

        compared = write_comparison(self.names, machine, self.output, plot_study, quiet=self.as_json)
        urls = save_workspace(self.names, machine, quiet=self.as_json) if self.wandb else []
        self.print_json({**compared, "workspaces": urls})


class PromoteCommand(Command):
    """Have DVC keep a finished run's last checkpoint, with its parameters, metrics and provenance."""

    run: CliPositionalArg[str]
    """name of the run"""
    name: str = ""
    """name of the model and of its folder in models/; without one, that of the run"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.pipeline.promote import promote

        self.print_json(promote(self.run, self.name, machine, quiet=self.as_json))
