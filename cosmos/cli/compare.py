"""Command that compares runs side by side."""

from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine
from cosmos.config.section import AnyPath

if TYPE_CHECKING:
    from cosmos.report.plotly import PlotlyFigure
    from cosmos.run.sweep_directory import SweepDir


def plot_study(folder: "SweepDir") -> "list[PlotlyFigure]":
    """Return the plots of a sweep's study, for which Optuna is imported: runs are compared without it."""
    from cosmos.search import study_plots

    return study_plots.plot_study(folder)


class CompareCommand(Command):
    """Compare runs, or the trials of a sweep: print a table, and write a page of curves and plots."""

    names: CliPositionalArg[list[str]]
    """runs, ids of sweeps, or names of sweeps (the newest)"""
    output: AnyPath | None = None
    """file of the page; without one: compare/<names>.html in the folder of runs"""
    merge_seeds: bool = Field(default=False, alias="merge-seeds")
    """make one of runs that differ in pretrain.seed alone: mean and deviation over their seeds"""
    wandb: bool = False
    """save a workspace of the sweep in Weights & Biases, too"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.compare.commands import save_workspace, write_comparison

        compared = write_comparison(
            self.names, machine, self.output, plot_study, self.as_json, self.merge_seeds
        )
        urls = save_workspace(self.names, machine, quiet=self.as_json) if self.wandb else []
        self.print_json({**compared, "workspaces": urls})
