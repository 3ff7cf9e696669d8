"""The `cosmos` command.

It knows only settings: what a command needs is imported when they are in order, so that help and mistakes
answer at once.
"""

import json
import logging
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
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
from cosmos.exits import EXIT_INTERRUPTED, EXIT_IO_ERROR
from cosmos.files import write_text
from cosmos.machine import Machine
from cosmos.overlays import Experiment, dumped, explain, load_experiment
from cosmos.params import (
    DataParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    ViewParams,
)
from cosmos.rundir import Interrupted, checkpoint_label, run_name


class Command(BaseModel):
    """A command that a program may ask for JSON."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    as_json: bool = Field(default=False, alias="json")
    """print the result as JSON, for programs"""

    def show(self, value: Any) -> None:
        """Prints a result as JSON, where that was asked for."""
        if self.as_json:
            print(json.dumps(value, indent=2))


class ParamsCommand(Command):
    """A command that works from params.yaml, an experiment overlay, and overrides of single parameters."""

    experiment: str = ""
    """overlay of params.yaml: a file, or the name of one in experiments/; without one, params.yaml says"""

    def loaded(self) -> Experiment:
        """The experiment, with the command line's overrides."""
        given = self.model_dump(exclude_unset=True)
        return load_experiment(self.experiment, {k: v for k, v in given.items() if k in Params.model_fields})

    def params(self) -> Params:
        """The resolved parameters."""
        return self.loaded().params


class Prepare(ParamsCommand):
    """Turn a source of images and captions into shards and a manifest."""

    data: DataParams = DataParams()
    """what to prepare"""
    output: Path | None = None
    """folder, for dvc.yaml, that gets the dataset once it is finished, in place of the machine's data_root"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        params, machine = self.params(), Machine()
        from cosmos.stages.prepare import prepare, prepare_into

        act = partial(prepare_into, self.output) if self.output else prepare
        self.show(act(params, machine, quiet=self.as_json))


class SectionsCommand(ParamsCommand):
    """A command that works from all parameters."""

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


class ShowParams(SectionsCommand):
    """Print the resolved parameters: those of params.yaml, an experiment and overrides.

    They have the form of an experiment's file, which says the same without any other.
    """

    output: Path | None = None
    """file to write instead"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        text = dumped(self.loaded())
        if self.output:
            write_text(self.output, text)
        elif not self.as_json:
            print(text, end="")
        if self.as_json:
            self.show(yaml.safe_load(text))


class RunCommand(SectionsCommand):
    """A command about a run, which its parameters name."""

    run: str = ""
    """name of the run directory; without one: the experiment's name and a hash of the parameters"""


class Pretrain(RunCommand):
    """Pretrain a model, here or as a Slurm job; the same command again continues where it stopped."""

    dry_run: bool = Field(default=False, alias="dry-run")
    """print the resolved parameters and the script that sbatch would get, and do nothing"""
    output: Path | None = None
    """folder, for dvc.yaml, that gets the finished run's checkpoint, parameters, provenance and metrics;
    without --run, the run is one that the same data, parameters and code have alone"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        experiment, machine = self.loaded(), Machine()
        from cosmos.stages.jobs import dry_run, launch_pretraining
        from cosmos.stages.pretrain_into import pretrain_into, state_name

        name = self.run or (state_name(experiment, machine) if self.output else run_name(experiment))
        act = partial(pretrain_into, self.output) if self.output else launch_pretraining
        if self.dry_run:
            act = dry_run
        self.show(act(experiment, machine, machine.runs_root / name, quiet=self.as_json))


class Jobs(Command):
    """List the jobs of runs: state, nodes, step, samples per second, time left."""

    def cli_cmd(self) -> None:
        """Runs the command."""
        machine = Machine()
        from cosmos.stages.jobs import jobs

        self.show([asdict(job) for job in jobs(machine, quiet=self.as_json)])


class Attach(Command):
    """Follow a run's job until it ends; Ctrl-C leaves it running."""

    run: CliPositionalArg[str]
    """name of the run"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        machine = Machine()
        from cosmos.stages.jobs import attach

        self.show(attach(self.run, machine, quiet=self.as_json))


class Cancel(Command):
    """End a run's job; what it saved stays."""

    run: CliPositionalArg[str]
    """name of the run"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        machine = Machine()
        from cosmos.stages.jobs import cancel

        self.show(cancel(self.run, machine, quiet=self.as_json))


class Experiments(Command):
    """List the experiments: what they train, what they need, what they are expected to score."""

    names: CliPositionalArg[list[str]] = []
    """experiments to show in detail; without one: all, in a table"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        machine = Machine()
        from cosmos.stages.experiments import experiments, refuse_invalid

        listed = experiments(self.names, machine, quiet=self.as_json)
        self.show([asdict(item) for item in listed])
        refuse_invalid(listed)


class Evaluate(RunCommand):
    """Measure a checkpoint, zero-shot: every suite, or those that are named.

    Which datasets a suite measures is set by evaluate.<suite>.datasets; `cosmos datasets` lists them.
    """

    suites: CliPositionalArg[list[SuiteName]] = list(get_args(SuiteName))
    """retrieval, classification, segmentation, perception; without one: all"""
    checkpoint: str = ""
    """in place of the run's newest one: a file, published:cosmos_vitb16_cc3m, or open_clip:ViT-B-32:openai;
    without --run, the run directory is called after it"""
    output: Path | None = None
    """folder, for dvc.yaml, that gets the results of this evaluation alone, once all of it is measured"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        experiment, machine = self.loaded(), Machine()
        from cosmos.stages.evaluations import evaluate_into, launch_evaluation

        run = machine.runs_root / (self.run or checkpoint_label(self.checkpoint) or run_name(experiment))
        act = partial(evaluate_into, self.output) if self.output else launch_evaluation
        evaluated = act(self.suites, experiment, machine, run, self.checkpoint, quiet=self.as_json)
        if evaluated.is_first:
            self.show(evaluated.results)
        if evaluated.problems:
            raise ValueError("\n  ".join(["not everything was measured:", *evaluated.problems]))


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


class Report(Command):
    """Write the report of a pipeline: a page to look at, and the figures and curves that DVC shows."""

    folder: CliPositionalArg[Path]
    """folder that `dvc repro` fills: pipeline"""

    def cli_cmd(self) -> None:
        """Runs the command."""
        from cosmos.stages.report import report

        self.show(report(self.folder, quiet=self.as_json))


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

    params: CliSubCommand[ShowParams]
    """print the resolved parameters"""
    prepare: CliSubCommand[Prepare]
    """turn a source of images and captions into shards"""
    pretrain: CliSubCommand[Pretrain]
    """pretrain a model, here or as a Slurm job, or continue"""
    jobs: CliSubCommand[Jobs]
    """list the jobs of runs"""
    attach: CliSubCommand[Attach]
    """follow a run's job"""
    cancel: CliSubCommand[Cancel]
    """end a run's job"""
    experiments: CliSubCommand[Experiments]
    """list the experiments, with what they need and should score"""
    evaluate: CliSubCommand[Evaluate]
    """measure a checkpoint, zero-shot"""
    datasets: CliSubCommand[Datasets]
    """list the datasets of evaluation"""
    report: CliSubCommand[Report]
    """write the report of a pipeline"""
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
    except (ValueError, SettingsError, FloatingPointError) as error:
        sys.exit(f"cosmos: {error}")
    except OSError as error:
        print(f"cosmos: {error}", file=sys.stderr)
        sys.exit(EXIT_IO_ERROR)
    except Interrupted as stop:
        print(f"cosmos: {stop}; the same command continues", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(130)
