"""Commands about what stages read and leave: experiments, damaged files, the report, exported models."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic_settings import CliPositionalArg

from cosmos.cli.base import Command
from cosmos.config.machine import Machine
from cosmos.config.section import AnyPath
from cosmos.errors import InputError


class ExperimentsCommand(Command):
    """List the experiments: what they train, what they need, what they are expected to score."""

    names: CliPositionalArg[list[str]] = []
    """experiments to show in detail; without one: all, in a table"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.stages.experiments import list_experiments, refuse_invalid_experiments

        listed = list_experiments(self.names, machine, quiet=self.as_json)
        self.print_json([asdict(item) for item in listed])
        refuse_invalid_experiments(listed)


class VerifyCommand(Command):
    """Read all files of datasets, runs and sweeps, check their checksums, and list what is damaged."""

    names: CliPositionalArg[list[str]]
    """names or folders; a name that a dataset and a run have stands for both"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.stages.verify import raise_problems, verify

        verified = verify(self.names, machine, quiet=self.as_json)
        self.print_json([asdict(item) for item in verified])
        raise_problems(verified)


class ReportCommand(Command):
    """Write the page of a run, of a sweep's winner, of a pair, or of the pipeline: one file, for a browser.

    It says what was trained and how good it is, what the model sees, where it fails, and how to get it again.
    Of the pipeline, it also writes the figures and curves that DVC shows.
    """

    name: CliPositionalArg[str]
    """run, id or name of a sweep (the newest), or the folder that `dvc repro` fills: pipeline"""
    against: str = ""
    """run or sweep to set it against"""
    output: AnyPath | None = None
    """file of the page; without one: report.html in the folder of the run, sweep or pipeline"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.pipeline.directory import PipelineDir

        if PipelineDir(Path(self.name)).is_filled:
            self.print_json(self.report_pipeline())
            return
        from cosmos.compare.run_report import write_run_report

        self.print_json(write_run_report(self.name, self.against, machine, self.output, quiet=self.as_json))

    def report_pipeline(self) -> dict[str, str]:
        """Write the page of a pipeline, and what DVC shows. Raises InputError for a pair."""
        from cosmos.pipeline.report import write_report

        if self.against:
            raise InputError(
                f"--against: {self.name} is a pipeline; name its run instead, which model/card.json has"
            )
        return write_report(Path(self.name), self.output, quiet=self.as_json)


class ExportCommand(Command):
    """Write a model as a folder that open_clip and the Hugging Face hub load, with a model card."""

    source: CliPositionalArg[str]
    """a run, a checkpoint file, published:cosmos_vitb16_cc3m, or dvc:REVISION:PATH"""
    to: AnyPath
    """folder to write; an exported model that is there is replaced"""
    which: Literal["student", "teacher"] = "teacher"
    """model of the checkpoint: student or teacher"""
    license: str = "unknown"
    """licence of the weights, for the model card: an identifier of the hub's list, as cc-by-nc-4.0"""
    push: str = ""
    """repository of the hub to upload the folder to, USER/NAME; one that is not there yet is made, private"""

    def cli_cmd(self) -> None:
        """Run the command."""
        machine = Machine()
        from cosmos.stages.export import Publication, export_model

        publication = Publication(self.which, self.license, self.push)
        exported = export_model(self.source, self.to, publication, machine, quiet=self.as_json)
        self.print_json(asdict(exported))
