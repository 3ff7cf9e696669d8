"""Commands about runs: list, show, rank and export them, and promote one to a model that DVC keeps."""

import sys

from pydantic import BaseModel, ConfigDict, NonNegativeInt
from pydantic_settings import CliPositionalArg, CliSubCommand

from cosmos.cli.base import Command, run_chosen
from cosmos.cli.output import discard_output
from cosmos.config.machine import Machine
from cosmos.config.section import AnyPath


class FilteringCommand(Command):
    """A command about the runs that meet conditions."""

    where: list[str] = []
    """condition: KEY=VALUE, or != < <= > >= and ~ (contains) in place of =; of several, all must hold"""
    columns: list[str] = []
    """keys to show (a,b,c), in place of the usual ones"""


class ListRunsCommand(FilteringCommand):
    """List runs, the newest first.

    A key is name, status, alive, heartbeat, started, tags, group, job_type, trial, trial_seed, commit, job or
    problem, or the path of a parameter, or a metric; an end of it that no other key has is enough (momentum).
    """

    sort: str = "-started"
    """key to sort by; --sort=-KEY (with =): from the largest down"""
    limit: NonNegativeInt = 0
    """runs to list; 0: all, or 50 in a terminal"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.registry.commands import RunQuery, print_runs

        query = RunQuery(self.where, self.columns)
        self.print_json(print_runs(query, self.sort, self.limit, machine, quiet=self.as_json))


class ShowRunCommand(Command):
    """Show everything recorded about a run: status, labels, parameters, metrics, results."""

    run: CliPositionalArg[str]
    """name of the run"""
    timing: bool = False
    """show where the time of its steps went instead, and the rank that the others waited for"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        if self.timing:
            from cosmos.registry.run_timing import print_run_timing

            self.print_json(print_run_timing(self.run, machine, quiet=self.as_json))
            return
        from cosmos.registry.commands import print_run

        self.print_json(print_run(self.run, machine, quiet=self.as_json))


class BestRunsCommand(FilteringCommand):
    """List the runs that have a metric, the best first.

    The best is the largest, but of losses, ranks and seconds the smallest.
    """

    metric: CliPositionalArg[str]
    """the metric, or an end of it that no other has"""
    limit: NonNegativeInt = 10
    """runs to list; 0: all"""
    smallest: bool = False
    """the smallest first, whatever the metric"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.registry.commands import RunQuery, print_best_runs

        query = RunQuery(self.where, self.columns)
        self.print_json(
            print_best_runs(self.metric, query, self.limit, self.smallest, machine, quiet=self.as_json)
        )


class ExportRunsCommand(FilteringCommand):
    """Write a table to a file: a row for each run, a column for each key that any of them has."""

    file: CliPositionalArg[AnyPath]
    """file to write: .csv or .parquet"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.registry.commands import RunQuery, export_runs

        self.print_json(
            export_runs(self.file, RunQuery(self.where, self.columns), machine, quiet=self.as_json)
        )


class RunsCommand(BaseModel):
    """List, filter, rank and export the runs, straight from their directories."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    list: CliSubCommand[ListRunsCommand]
    """list runs"""
    show: CliSubCommand[ShowRunCommand]
    """show everything recorded about a run"""
    best: CliSubCommand[BestRunsCommand]
    """list the runs with the best of a metric"""
    export: CliSubCommand[ExportRunsCommand]
    """write runs to a CSV or Parquet file"""

    def cli_cmd(self) -> None:
        """Run the chosen command; it has succeeded, too, once nobody reads its output any more (`| head`)."""
        try:
            run_chosen(self, "cosmos runs")
            sys.stdout.flush()
        except BrokenPipeError:
            discard_output()


class PromoteCommand(Command):
    """Have DVC keep a finished run's last checkpoint, with its parameters, metrics and provenance."""

    run: CliPositionalArg[str]
    """name of the run"""
    name: str = ""
    """name of the model and of its folder in models/; without one, that of the run"""
    license: str = "unknown"
    """licence of the weights, for the model card in models/NAME/open_clip, as of `cosmos export`"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.pipeline.promote import promote

        self.print_json(promote(self.run, self.name, machine, self.as_json, self.license))
