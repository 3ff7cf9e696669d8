"""The `cosmos` command. Parsing knows only settings; what a command needs is imported when it runs."""

import json
import logging
import sys
from pathlib import Path
from typing import Any, Literal

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

from cosmos.machine import Machine
from cosmos.overlays import explain, load_params
from cosmos.params import (
    DataParams,
    EvaluateParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    ViewParams,
)
from cosmos.rundir import Interrupted, run_name

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
        from cosmos import stages

        self.show(stages.prepare(self.params(), Machine(), quiet=self.as_json))


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

    def directory(self, params: Params, machine: Machine) -> Path:
        """The run directory."""
        return machine.runs_root / (self.run or run_name(self.experiment, params))


class Pretrain(RunCommand):
    """Pretrain a model; the same command again continues where it stopped."""

    def cli_cmd(self) -> None:
        """Runs the command."""
        from cosmos import stages

        params, machine = self.params(), Machine()
        run = self.directory(params, machine)
        self.show(stages.pretrain(params, machine, run, quiet=self.as_json))


class Retrieval(RunCommand):
    """Zero-shot image-text retrieval: recall at 1, 5, 10 in both directions."""

    checkpoint: str = ""
    """in place of the run's newest one: a file, published:cosmos_vitb16_cc3m, or open_clip:ViT-B-32:openai"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        from cosmos import stages

        params, machine = self.params(), Machine()
        run = self.directory(params, machine)
        self.show(stages.evaluate("retrieval", params, machine, run, self.checkpoint, quiet=self.as_json))


class Evaluate(BaseModel):
    """Measure a checkpoint, zero-shot."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    retrieval: CliSubCommand[Retrieval]
    """image-text retrieval"""

    def cli_cmd(self) -> None:
        """Runs the suite."""
        CliApp.run_subcommand(self)


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
        from cosmos import stages

        print(stages.export(self.checkpoint, self.output, self.which, Machine()))


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
