"""Commands of sweeps."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine
from cosmos.config.section import NumTrials


class SweepCommand(Command):
    """Search parameters: trials as jobs, the best repeated with other seeds; the same command goes on.

    What is searched is set by experiments/sweeps/NAME.yaml.
    """

    name: CliPositionalArg[str]
    """a file, or the name of one in experiments/sweeps/"""
    experiment: str = ""
    """the base, in place of the one that the file names"""
    trials: NumTrials = 0
    """trials in all that are to be begun, without those that fail; 0: as the file says"""
    parallel: NonNegativeInt = 0
    """trials at a time; 0: on Slurm as many as slurm.array_parallelism, here as many as the cores allow"""
    like: str = ""
    """an earlier sweep, by its id, name or path: its best trials are tried first, where their values fit"""
    dry_run: bool = Field(default=False, alias="dry-run")
    """check the search space, print it, and start no trial"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.config.sweep_loading import load_sweep

        sweep = load_sweep(self.name, self.experiment)
        if self.dry_run:
            from cosmos.search.terminal_tables import print_search_space

            if not self.as_json:
                print_search_space(sweep, machine, self.trials or sweep.file.trials)
            self.print_json(sweep.dump())
            return
        from cosmos.search.sweep_run import prepare_sweep_run
        from cosmos.search.terminal_progress import run_sweep_in_terminal

        sweep_run = prepare_sweep_run(sweep, machine, self.trials, self.parallel, self.like)
        self.print_json(run_sweep_in_terminal(sweep_run, quiet=self.as_json).as_json())


class DashboardCommand(BaseModel):
    """Open Optuna's dashboard on the study of a sweep; it may be running."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: CliPositionalArg[str] = ""
    """id or name of the sweep; without one, the newest"""
    port: PositiveInt = 8080
    """port of this machine at which a browser finds it"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.search.dashboard import serve_dashboard

        serve_dashboard(self.name, machine, self.port)
