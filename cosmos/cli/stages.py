"""Commands that work from parameters: of the stages, of the parameters themselves, of datasets."""

from dataclasses import asdict
from functools import partial
from typing import get_args

import yaml
from pydantic import Field
from pydantic_settings import CliPositionalArg

from cosmos.cli.parameters import ParamsCommand, RunCommand, SectionsCommand
from cosmos.config.evaluate_params import EvaluateParams, SuiteName
from cosmos.config.experiment import dump_experiment
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.config.section import AnyPath
from cosmos.run.directory import RunDir, run_name
from cosmos.run.files import write_text


class ShowParamsCommand(SectionsCommand):
    """Print the resolved parameters: those of params.yaml, an experiment and overrides.

    They are printed as an experiment's file that extends no other.
    """

    output: AnyPath | None = None
    """file to write instead"""
    identity: AnyPath | None = None
    """file, for dvc.yaml, that gets the parameters and, for each stage, a hash of its code"""

    def cli_cmd(self) -> None:
        """Run the command."""
        Machine()  # refuses parameters in the environment
        experiment = self.load_experiment()
        text = dump_experiment(experiment)
        if self.identity:
            from cosmos.pipeline.identity import dump_identity

            write_text(self.identity, dump_identity(experiment))
        if self.output:
            write_text(self.output, text)
        elif not self.as_json:
            print(text, end="")
        if self.as_json:
            self.print_json(yaml.safe_load(text))


class PrepareCommand(ParamsCommand):
    """Turn a source of images and captions into shards and a manifest."""

    data: DataParams = DataParams()
    """dataset to prepare"""
    output: AnyPath | None = None
    """folder, for dvc.yaml, that gets the dataset once it is finished, in place of the machine's data_root"""

    def cli_cmd(self) -> None:
        """Run the command."""
        params, machine = self.load_params(), Machine()
        from cosmos.pipeline.prepare import prepare_into
        from cosmos.stages.prepare import prepare

        action = partial(prepare_into, self.output) if self.output else prepare
        self.print_json(action(params, machine, quiet=self.as_json))


class PretrainCommand(RunCommand):
    """Pretrain a model, here or as a Slurm job; the same command again continues where it stopped."""

    dry_run: bool = Field(default=False, alias="dry-run")
    """print the resolved parameters and the script that sbatch would get, and do nothing"""
    output: AnyPath | None = None
    """folder, for dvc.yaml, that gets the finished run's checkpoint, parameters, provenance and metrics;
    without --run, the run's name has a hash of data, parameters and code"""
    tags: list[str] = []
    """words to find the run by (a,b), in place of those that it has; `cosmos runs list --where tag=a`"""

    def cli_cmd(self) -> None:
        """Run the command."""
        experiment, machine = self.load_experiment(), Machine()
        from cosmos.pipeline.pretrain import pipeline_run_name, pretrain_into
        from cosmos.stages.pretrain_job import launch_pretraining, show_dry_run, tag_run

        default = partial(pipeline_run_name, machine=machine) if self.output else run_name
        path = self.path_in(machine.runs_root, partial(default, experiment))
        action = partial(pretrain_into, self.output) if self.output else launch_pretraining
        if self.dry_run:
            action = show_dry_run
        elif "tags" in self.model_fields_set:
            tag_run(path, experiment.params, self.tags)
        self.print_json(action(experiment, machine, path, quiet=self.as_json))


class EvaluateCommand(RunCommand):
    """Measure a checkpoint, zero-shot: every suite, or those that are named.

    Which datasets a suite measures is set by evaluate.<suite>.datasets; `cosmos datasets` lists them.
    """

    suites: CliPositionalArg[list[SuiteName]] = list(get_args(SuiteName))
    """retrieval, classification, segmentation, perception; without one: all"""
    checkpoint: str = ""
    """in place of the run's newest one: a file, published:cosmos_vitb16_cc3m, open_clip:ViT-B-32:openai, or
    dvc:REVISION:PATH; without --run, the run directory is called after it"""
    output: AnyPath | None = None
    """folder, for dvc.yaml, that gets the results of this evaluation alone, once all of it is measured"""

    def cli_cmd(self) -> None:
        """Run the command."""
        experiment, machine = self.load_experiment(), Machine()
        from cosmos.stages.checkpoint_origin import on_own_data, run_of_results
        from cosmos.stages.evaluate_job import evaluate_into, launch_evaluation

        path, checkpoint = self.path_in(machine.runs_root, partial(run_name, experiment)), self.checkpoint
        if checkpoint and not self.run:
            path, checkpoint = run_of_results(checkpoint, machine)
        given = self.data.model_dump(exclude_unset=True)
        on_data = on_own_data(experiment, RunDir(path), checkpoint, given)
        action = partial(evaluate_into, self.output) if self.output else launch_evaluation
        evaluated = action(self.suites, on_data, machine, path, checkpoint, quiet=self.as_json)
        if evaluated.is_first:
            self.print_json(evaluated.results)
        evaluated.raise_problems()


class DatasetsCommand(ParamsCommand):
    """List the datasets of evaluation: layout, size, licence, and whether they are on this machine."""

    names: CliPositionalArg[list[str]] = []
    """datasets to show in detail; without one: all, in a table"""
    download: bool = False
    """fetch the named ones that are missing, where torchvision can"""
    data: DataParams = DataParams()
    """prepared dataset that heldout, train and demo belong to"""
    evaluate: EvaluateParams = EvaluateParams()
    """sets of your own"""

    def cli_cmd(self) -> None:
        """Run the command."""
        params, machine = self.load_params(), Machine()
        from cosmos.stages.datasets import list_datasets

        listed = list_datasets(self.names, params, machine, self.download, quiet=self.as_json)
        self.print_json([asdict(item) for item in listed])
