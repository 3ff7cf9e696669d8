"""Commands by name: the class of each, imported once the command is asked for, and its line of --help."""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydantic import BaseModel

DESCRIPTION = """Pretrain and evaluate COSMOS: cross-modality self-distillation for vision-language models.

Parameters come from params.yaml, then --experiment, then overrides such as --pretrain.epochs 3. Where and
how fast things run is set by COSMOS_* variables, .env or machine.yaml (machine.example.yaml shows all).
"""
"""Description of the command `cosmos`."""


class CommandEntry(NamedTuple):
    """Place of a command's class, and its summary."""

    module: str
    """module of cosmos.cli"""
    class_name: str
    summary: str
    """line of `cosmos --help`"""

    def load(self) -> "type[BaseModel]":
        """Import the command's class, and return it."""
        command: type[BaseModel] = getattr(import_module(f"cosmos.cli.{self.module}"), self.class_name)
        return command


COMMANDS = {
    "params": CommandEntry("stages", "ShowParamsCommand", "print the resolved parameters"),
    "prepare": CommandEntry("stages", "PrepareCommand", "turn a source of images and captions into shards"),
    "plan": CommandEntry("plan", "PlanCommand", "say what a pretraining takes, and whether it works"),
    "pretrain": CommandEntry(
        "stages", "PretrainCommand", "pretrain a model, here or as a Slurm job, or continue"
    ),
    "runs": CommandEntry("runs", "RunsCommand", "list, filter, rank and export the runs"),
    "jobs": CommandEntry("jobs", "JobsCommand", "list the jobs of runs and evaluations"),
    "attach": CommandEntry("jobs", "AttachCommand", "follow a run's job"),
    "cancel": CommandEntry("jobs", "CancelCommand", "end a run's job"),
    "sweep": CommandEntry("sweeps", "SweepCommand", "search parameters"),
    "dashboard": CommandEntry("sweeps", "DashboardCommand", "open Optuna's dashboard on a sweep"),
    "compare": CommandEntry(
        "compare", "CompareCommand", "compare runs, or the trials of a sweep, side by side"
    ),
    "forecast": CommandEntry(
        "forecast", "ForecastCommand", "forecast where the loss and evaluations of runs end"
    ),
    "promote": CommandEntry("runs", "PromoteCommand", "make a run's last checkpoint a model that DVC keeps"),
    "experiments": CommandEntry(
        "artefacts", "ExperimentsCommand", "list the experiments, with what they need and should score"
    ),
    "evaluate": CommandEntry("stages", "EvaluateCommand", "measure a checkpoint, zero-shot"),
    "datasets": CommandEntry("stages", "DatasetsCommand", "list the datasets of evaluation"),
    "verify": CommandEntry("artefacts", "VerifyCommand", "find damaged files of datasets, runs and sweeps"),
    "report": CommandEntry(
        "artefacts", "ReportCommand", "write the page of a run, a pair of runs, or the pipeline"
    ),
    "export": CommandEntry("artefacts", "ExportCommand", "write a model as open_clip and the hub load it"),
}
"""Commands by name, in the order of `cosmos --help`."""
