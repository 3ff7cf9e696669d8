"""The `cosmos` command: one module for each group of subcommands, which parse, call and print.

Only settings are imported at first; a subcommand imports what it calls once its settings are valid, so that
--help and mistakes answer at once.
"""

import logging
import select
import signal
import sys
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cosmos.cli.base import discard_output, run_chosen
from cosmos.cli.compare import CompareCommand
from cosmos.cli.jobs import AttachCommand, CancelCommand, JobsCommand
from cosmos.cli.parser import CommandParser
from cosmos.cli.runs import PromoteCommand, RunsCommand
from cosmos.cli.stages import (
    DatasetsCommand,
    EvaluateCommand,
    ExperimentsCommand,
    ExportCommand,
    PrepareCommand,
    PretrainCommand,
    ReportCommand,
    ShowParamsCommand,
    VerifyCommand,
)
from cosmos.cli.sweeps import DashboardCommand, SweepCommand
from cosmos.config.printable_text import PrintableFormatter, print_text
from cosmos.config.validation import explain_validation
from cosmos.distributed.stop_signals import heed_stop_signals, was_stopped
from cosmos.errors import CosmosError, InputError, Interrupted, error_class, summarize_error

CONTINUING = frozenset({"prepare", "pretrain", "evaluate", "sweep"})
"""Commands that go on where they were stopped, given again."""

CLOSED_PIPE_STATUS = 128 + signal.SIGPIPE
"""Exit status of a command whose output nobody reads any more, as of those that SIGPIPE ends."""


class CosmosCommand(BaseSettings):
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

    params: CliSubCommand[ShowParamsCommand]
    """print the resolved parameters"""
    prepare: CliSubCommand[PrepareCommand]
    """turn a source of images and captions into shards"""
    pretrain: CliSubCommand[PretrainCommand]
    """pretrain a model, here or as a Slurm job, or continue"""
    runs: CliSubCommand[RunsCommand]
    """list, filter, rank and export the runs"""
    jobs: CliSubCommand[JobsCommand]
    """list the jobs of runs"""
    attach: CliSubCommand[AttachCommand]
    """follow a run's job"""
    cancel: CliSubCommand[CancelCommand]
    """end a run's job"""
    sweep: CliSubCommand[SweepCommand]
    """search parameters"""
    dashboard: CliSubCommand[DashboardCommand]
    """open Optuna's dashboard on a sweep"""
    compare: CliSubCommand[CompareCommand]
    """compare runs, or the trials of a sweep, side by side"""
    promote: CliSubCommand[PromoteCommand]
    """make a run's last checkpoint a model that DVC keeps"""
    experiments: CliSubCommand[ExperimentsCommand]
    """list the experiments, with what they need and should score"""
    evaluate: CliSubCommand[EvaluateCommand]
    """measure a checkpoint, zero-shot"""
    datasets: CliSubCommand[DatasetsCommand]
    """list the datasets of evaluation"""
    verify: CliSubCommand[VerifyCommand]
    """find damaged files of datasets, runs and sweeps"""
    report: CliSubCommand[ReportCommand]
    """write the report of a pipeline"""
    export: CliSubCommand[ExportCommand]
    """write the plain CLIP inside a checkpoint"""

    def cli_cmd(self) -> None:
        """Run the chosen command."""
        run_chosen(self, "cosmos")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the command line as the only source: parameters never come from the environment."""
        return (init_settings,)


def main() -> None:
    """Run the command. An error of a class in `errors` ends in its message and exit status, no traceback."""
    heed_stop_signals()
    set_up_logging()
    try:
        run_command()
    except ValidationError as error:
        problems = explain_validation(error, CosmosCommand, subcommands=sys.argv[1:])
        exit_with_message(f"the command line does not fit:\n{problems}", InputError.exit_status)
    except SettingsError as error:
        exit_with_message(str(error), InputError.exit_status)
    except KeyboardInterrupt:
        if not CONTINUING.intersection(sys.argv[1:2]):
            sys.exit(130)
        exit_with_message("stopped by Ctrl-C; the same command continues", Interrupted.exit_status)
    except Interrupted as stop:
        exit_with_message(f"{stop}; the same command continues", stop.exit_status)
    except Exception as error:
        if was_stopped():
            exit_with_message(f"stopped ({error}); the same command continues", Interrupted.exit_status)
        if isinstance(error, BrokenPipeError) and is_output_closed():
            discard_output()
            sys.exit(CLOSED_PIPE_STATUS)
        its_class = error_class(error)
        if its_class is None:
            raise
        exit_with_message(summarize_error(name_output(error)), its_class.exit_status)


def name_output(error: Exception) -> Exception:
    """Return the error of a standard output that cannot be written to, for one that names no file."""
    if isinstance(error, CosmosError) or not isinstance(error, OSError) or error.filename:
        return error
    try:
        flush_output()
    except OSError as of_output:
        return of_output
    return error


def flush_output() -> None:
    """Write out what was printed; do nothing where the process was started without a standard output.

    Raises OSError that names the standard output where its disk is full or fails.
    """
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "the standard output") from None


def run_command() -> None:
    """Run the command that sys.argv has, and flush its output, also when --help or rich ends the process."""
    try:
        parser = CommandParser(prog="cosmos", description=CosmosCommand.__doc__, allow_abbrev=False)
        source = CliSettingsSource[CommandParser](CosmosCommand, root_parser=parser)
        CliApp.run(CosmosCommand, cli_settings_source=source)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich exits with 1 when its output is closed
            sys.exit(CLOSED_PIPE_STATUS)
        flush_output()
        raise
    flush_output()


def is_output_closed() -> bool:
    """Return True when standard output is a pipe whose reader has ended, as `| head` does."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def set_up_logging() -> None:
    """Send log messages of the library to the error stream."""
    # a terminal has the progress bar; a job's log has a line where metrics.jsonl has one
    level = logging.WARNING if sys.stderr.isatty() else logging.INFO
    logging.basicConfig(stream=sys.stderr)
    handler = logging.getLogger().handlers[0]
    handler.setFormatter(PrintableFormatter("%(message)s"))
    handler.setLevel(level)
    logging.getLogger("cosmos").setLevel(logging.INFO)


def exit_with_message(message: str, status: int) -> NoReturn:
    """End the command with a message on the error stream and an exit status."""
    print_text(f"cosmos: {message}", to_errors=True)
    try:
        flush_output()
    except OSError:  # a second failure, which must not replace the status of the first
        discard_output()
    sys.exit(status)
