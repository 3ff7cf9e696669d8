"""Base classes of commands that work from parameters: the sections, and the run that parameters name."""

from collections.abc import Callable
from pathlib import Path

from cosmos.cli.base import Command
from cosmos.config.evaluate_params import EvaluateParams
from cosmos.config.experiment import Experiment, load_experiment
from cosmos.config.identity import READ_IN_TRAINING
from cosmos.config.params import DataParams, LossParams, ModelParams, Params, PretrainParams, ViewParams
from cosmos.errors import InputError
from cosmos.run.directory import run_path


class ParamsCommand(Command):
    """A command that works from params.yaml, an experiment overlay, and overrides of single parameters."""

    experiment: str = ""
    """overlay of params.yaml: a file, or a name in experiments/; without one, that of params.yaml"""

    def load_experiment(self) -> Experiment:
        """Return the experiment, with the command line's overrides."""
        given = self.model_dump(exclude_unset=True)
        return load_experiment(self.experiment, {k: v for k, v in given.items() if k in Params.model_fields})

    def load_params(self) -> Params:
        """Return the resolved parameters."""
        return self.load_experiment().params


class SectionsCommand(ParamsCommand):
    """A command that works from all parameters."""

    data: DataParams = DataParams()
    """prepared dataset, by `data.name` (the other settings of `data` belong to prepare)"""
    views: ViewParams = ViewParams()
    """image and text crops"""
    model: ModelParams = ModelParams()
    """architecture"""
    loss: LossParams = LossParams()
    """objective"""
    pretrain: PretrainParams = PretrainParams()
    """optimisation"""
    evaluate: EvaluateParams = EvaluateParams()
    """zero-shot evaluation, while training and after"""


class RunCommand(SectionsCommand):
    """A command about a run, which its parameters name."""

    run: str = ""
    """name of the run directory; without one: the experiment's name and a hash of the parameters"""

    def load_experiment(self) -> Experiment:
        """Return the experiment, with the command line's overrides.

        Raises InputError for an override that decides what a dataset is made from, since it is made already.
        """
        making = [key for key in self.data.model_dump(exclude_unset=True) if key not in READ_IN_TRAINING]
        if making:
            options = ", ".join(f"--data.{key}" for key in making)
            raise InputError(
                f"{options}: `cosmos prepare` takes that; here --data.name names what it prepared"
            )
        return super().load_experiment()

    def path_in(self, runs_root: Path, default: Callable[[], str]) -> Path:
        """Return the path of the run in `runs_root` that --run names; without the option, of `default`.

        Raises InputError for a name that leads out of `runs_root`.
        """
        name = self.run if "run" in self.model_fields_set else default()
        return run_path(runs_root, name, "--run")
