"""Commands about the jobs of runs."""

from dataclasses import asdict
from typing import Literal

from pydantic import NonNegativeInt
from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine


class JobsCommand(Command):
    """List the jobs of runs and of evaluations, the running ones first: state, step, time left, nodes."""

    names: CliPositionalArg[list[str]] = []
    """runs, sweeps, or patterns such as 'ema*'; without one: all"""
    state: list[str] = []
    """states of the jobs to list (running,pending); without one: all"""
    kind: list[Literal["pretrain", "trial", "evaluate"]] = []
    """kinds of the jobs to list; without one: all"""
    limit: NonNegativeInt = 0
    """jobs to list; 0: all, or 50 in a terminal"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.registry.job_table import list_jobs
        from cosmos.registry.jobs import JobQuery

        query = JobQuery(self.names, self.state, self.kind)
        self.print_json([asdict(job) for job in list_jobs(query, self.limit, machine, quiet=self.as_json)])


class AttachCommand(Command):
    """Follow a run's job until it ends; Ctrl-C leaves it running."""

    run: CliPositionalArg[str]
    """name of the run"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.stages.jobs import attach_to_job

        self.print_json(attach_to_job(self.run, machine, quiet=self.as_json))


class CancelCommand(Command):
    """End a run's job, or a sweep and its trials' jobs; what they saved stays."""

    run: CliPositionalArg[str]
    """name of the run or the sweep"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.run.sweep_directory import SweepDir
        from cosmos.stages.jobs import cancel_run

        sweep = SweepDir(machine.runs_root / self.run)
        if sweep.is_defined:
            from cosmos.search.cancellation import cancel_sweep

            self.print_json(cancel_sweep(sweep, quiet=self.as_json))
        else:
            self.print_json(cancel_run(self.run, machine, quiet=self.as_json))
