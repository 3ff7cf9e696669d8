"""The `cosmos` command.

It knows only settings: what a command needs is imported when they are in order, so that help and mistakes
answer at once.
"""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cosmos.evaluate_params import EvaluateParams, SuiteName
from cosmos.machine import Machine
from cosmos.overlays import explain, load_params
from cosmos.params import (
    DataParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    ViewParams,
)
from cosmos.rundir import Interrupted, checkpoint_label, run_name

EXIT_INTERRUPTED = 75
"""A run that was asked to stop and can go on (EX_TEMPFAIL): schedulers start it again."""


class ParamsCommand(BaseModel):
    """A command that works from params.yaml, an experiment overlay, and overrides of single parameters."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    experiment: str = ""
    """overlay of params.yaml: a file, or the name of one in experiments/"""
    as_json: bool = Field(default=False, alias="json")
    """print the result as JSON, for programs"""

    def params(self) -> Params:
        """The resolved parameters."""
        given = self.model_dump(exclude_unset=True)
        return load_params(self.experiment, {k: v for k, v in given.items() if k in Params.model_fields})

    def show(self, value: Any) -> None:
        """Prints a result as JSON, where that was asked for."""
        if self.as_json:
            print(json.dumps(value, indent=2))


class Prepare(ParamsCommand):
    """Turn a source of images and captions into shards and a manifest."""

    data: DataParams = DataParams()
    """what to prepare"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        params, machine = self.params(), Machine()
        from cosmos.stages.prepare import prepare

        self.show(prepare(params, machine, quiet=self.as_json))


class RunCommand(ParamsCommand):
    """A command about a run, which its parameters name."""

    run: str = ""
    """name of the run directory; without one: the experiment's name and a hash of the parameters"""
    data: DataParams = DataParams()
    """which prepared dataset (the other settings of `data` belong to prepare)"""
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


class Pretrain(RunCommand):
    """Pretrain a model; the same command again continues where it stopped."""

    def cli_cmd(self) -> None:
        """Runs the command."""
        params, machine = self.params(), Machine()
        from cosmos.stages.pretrain import pretrain

        run = machine.runs_root / (self.run or run_name(self.experiment, params))
        self.show(pretrain(params, machine, run, quiet=self.as_json))


class Evaluate(RunCommand):
    """Measure a checkpoint, zero-shot: every suite, or those that are named.

    Which datasets a suite measures is set by evaluate.<suite>.datasets; `cosmos datasets` lists them.
    """

    suites: CliPositionalArg[list[SuiteName]] = list(get_args(SuiteName))
    """retrieval, classification, segmentation, perception; without one: all"""
    checkpoint: str = ""
    """in place of the run's newest one: a file, published:cosmos_vitb16_cc3m, or open_clip:ViT-B-32:openai;
    without --run, the run directory is called after it"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        params, machine = self.params(), Machine()
        from cosmos.stages.evaluate import evaluate

        name = self.run or checkpoint_label(self.checkpoint) or run_name(self.experiment, params)
        run = machine.runs_root / name
        outcome = evaluate(self.suites, params, machine, run, self.checkpoint, quiet=self.as_json)
        if outcome.is_first:
            self.show(outcome.results)
        if outcome.problems:
            raise ValueError("\n  ".join(["not everything was measured:", *outcome.problems]))


class Datasets(ParamsCommand):
    """List the datasets of evaluation: layout, size, licence, and whether they are on this machine."""

    names: CliPositionalArg[list[str]] = []
    """datasets to show in detail; without one: all, in a table"""
    download: bool = False
    """fetch the named ones that are missing, where torchvision can"""
    data: DataParams = DataParams()
    """which prepared dataset heldout, train and demo belong to"""
    evaluate: EvaluateParams = EvaluateParams()
    """sets of your own"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        params, machine = self.params(), Machine()
        from cosmos.stages.datasets import datasets

        listed = datasets(self.names, params, machine, self.download, quiet=self.as_json)
        self.show([asdict(item) for item in listed])


class Export(BaseModel):
    """Write the plain CLIP inside a checkpoint, for open_clip to load."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    checkpoint: CliPositionalArg[str]
    """a checkpoint file, or published:cosmos_vitb16_cc3m"""
    output: CliPositionalArg[Path]
    """file to write"""
    which: Literal["student", "teacher"] = "teacher"
    """which of the checkpoint's two models"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        from cosmos.stages.export import export

        print(export(self.checkpoint, self.output, self.which, Machine()))


class Cosmos(BaseSettings):
    """Pretrain and evaluate COSMOS: cross-modality self-distillation for vision-language models.

    Parameters come from params.yaml, then --experiment, then overrides such as --pretrain.epochs 3. Where and
    how fast things run is set by COSMOS_* variables, .env or machine.yaml (machine.example.yaml shows all).
    """

    model_config = SettingsConfigDict(
        cli_prog_name="cosmos",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        use_attribute_docstrings=True,
    )

    prepare: CliSubCommand[Prepare]
    """turn a source of images and captions into shards"""
    pretrain: CliSubCommand[Pretrain]
    """pretrain a model, or continue"""
    evaluate: CliSubCommand[Evaluate]
    """measure a checkpoint, zero-shot"""
    datasets: CliSubCommand[Datasets]
    """list the datasets of evaluation"""
    export: CliSubCommand[Export]
    """write the plain CLIP inside a checkpoint"""

    def cli_cmd(self) -> None:
        """Runs the chosen command."""
        CliApp.run_subcommand(self)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line alone: parameters never come from the environment."""
        return (init_settings,)


def main() -> None:
    """Entry point. What a user can mend ends in a message, not in a traceback."""
    # a terminal has the progress bar; a job's log has a line where metrics.jsonl has one
    terminal = logging.WARNING if sys.stderr.isatty() else logging.INFO
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger().handlers[0].setLevel(terminal)
    logging.getLogger("cosmos").setLevel(logging.INFO)
    try:
        CliApp.run(Cosmos)
    except ValidationError as error:
        sys.exit(f"cosmos: the command line does not fit:\n{explain(error)}")
    except (ValueError, OSError, SettingsError, FloatingPointError) as error:
        sys.exit(f"cosmos: {error}")
    except Interrupted as stop:
        print(f"cosmos: {stop}; the same command continues", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(130)
