"""Command that says what a pretraining takes, and whether it can work, before it runs."""

from functools import partial

from pydantic import Field, NonNegativeInt, PositiveInt

from cosmos.cli.parameters import RunCommand
from cosmos.config.machine import Machine
from cosmos.config.section import AnyPath
from cosmos.errors import InputError
from cosmos.run.directory import run_name


class PlanCommand(RunCommand):
    """Say what a pretraining takes, and whether it works: steps, memory, time, disk, cost; nothing runs.

    Nodes and GPUs are those that a job would ask for. Exit status 2: the plan has an error.
    """

    nodes: PositiveInt | None = None
    """nodes, in place of slurm.nodes"""
    gpus_per_node: NonNegativeInt | None = Field(default=None, alias="gpus-per-node")
    """GPUs of a node, in place of slurm.gpus_per_node"""
    gpu: str = ""
    """kind of GPU, such as a100-40gb, in place of slurm.gpu_kind"""
    samples: NonNegativeInt = 0
    """samples of the training data; 0: those of its manifest, or those that the experiment states"""
    calibrate: bool = False
    """take three steps on this machine first, and estimate the time by them"""
    published: bool = False
    """plan all published runs, and set them beside what the paper used"""
    page: AnyPath | None = None
    """file of a page for a browser to write, too"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        if self.published:
            self.print_published(machine)
            return
        experiment = self.load_experiment()
        from cosmos.stages.plan import PlanQuestion, plan_pretraining, refuse_plan_errors, show_plan

        question = PlanQuestion(self.nodes, self.gpus_per_node, self.gpu, self.samples, self.calibrate)
        run = self.path_in(machine.runs_root, partial(run_name, experiment)) if self.run else None
        planned = plan_pretraining(experiment, machine, question, run)
        show_plan(planned, self.page, quiet=self.as_json)
        self.print_json(planned.as_json())
        refuse_plan_errors(planned)

    def print_published(self, machine: Machine) -> None:
        """Print the plans of the published runs. Raises InputError for options that are of one run."""
        given = self.model_fields_set - {"published", "as_json"}
        if given:
            raise InputError(f"--published plans all published runs as they are, without --{min(given)}")
        from cosmos.stages.plan import plan_published_runs, show_published_plans

        plans = plan_published_runs(machine)
        show_published_plans(plans, quiet=self.as_json)
        self.print_json([planned.as_json() for planned in plans])
