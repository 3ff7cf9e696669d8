"""The `cosmos` command.

It knows only settings: what a command needs is imported when they are in order, so that help and mistakes
answer at once.
"""

import logging
import sys
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cosmos.cli.compare import Compare, Promote
from cosmos.cli.jobs import Attach, Cancel, Jobs
from cosmos.cli.runs import Runs
from cosmos.cli.stages import Datasets, Evaluate, Experiments, Export, Prepare, Pretrain, Report, ShowParams
from cosmos.cli.sweeps import Dashboard, Sweep
from cosmos.config.experiment import explain_validation
from cosmos.errors import InputError, Interrupted, error_class


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
    runs: CliSubCommand[Runs]
    """list, filter, rank and export the runs"""
    jobs: CliSubCommand[Jobs]
    """list the jobs of runs"""
    attach: CliSubCommand[Attach]
    """follow a run's job"""
    cancel: CliSubCommand[Cancel]
    """end a run's job"""
    sweep: CliSubCommand[Sweep]
    """search parameters"""
    dashboard: CliSubCommand[Dashboard]
    """open Optuna's dashboard on a sweep"""
    compare: CliSubCommand[Compare]
    """set runs, or the trials of a sweep, beside each other"""
    promote: CliSubCommand[Promote]
    """make a run's last checkpoint a model that DVC keeps"""
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
    """Run the command. An error of a class in `errors` ends in its message and exit status, no traceback."""
    # a terminal has the progress bar; a job's log has a line where metrics.jsonl has one
    terminal = logging.WARNING if sys.stderr.isatty() else logging.INFO
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger().handlers[0].setLevel(terminal)
    logging.getLogger("cosmos").setLevel(logging.INFO)
    try:
        CliApp.run(Cosmos)
    except ValidationError as error:
        end(f"the command line does not fit:\n{explain_validation(error)}", InputError.exit_status)
    except SettingsError as error:
        end(str(error), InputError.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except Interrupted as stop:
        end(f"{stop}; the same command continues", stop.exit_status)
    except Exception as error:
        known = error_class(error)
        if known is None:
            raise
        end(str(error), known.exit_status)


def end(message: str, status: int) -> NoReturn:
    """End the command with a message on the error stream and an exit status."""
    print(f"cosmos: {message}", file=sys.stderr)
    sys.exit(status)
