"""Command line of one command: its arguments, read and validated as settings, and its run."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cosmos.cli.base import run_chosen
from cosmos.cli.commands import COMMANDS
from cosmos.cli.parser import CommandParser
from cosmos.config.validation import explain_validation
from cosmos.errors import InputError, short_reason


class CommandLine(BaseSettings):
    """Settings from a command line, whose only field is the command that was asked for."""

    model_config = SettingsConfigDict(
        cli_prog_name="cosmos",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        use_attribute_docstrings=True,
    )

    def cli_cmd(self) -> None:
        """Run the command."""
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


def run_command_line(name: str, arguments: Sequence[str]) -> None:
    """Run the command `name` with `arguments`, the first of which is its name.

    Only its own options are made into a parser: those of all commands together take most of a second.
    Raises InputError for arguments that do not fit.
    """
    model = command_line(name, COMMANDS[name].load())
    parser = CommandParser(prog="cosmos", allow_abbrev=False)
    source = CliSettingsSource[CommandParser](model, root_parser=parser)
    try:
        CliApp.run(model, cli_args=[*arguments], cli_settings_source=source)
    except ValidationError as error:
        problems = explain_validation(error, model, subcommands=arguments)
        raise InputError(f"the command line does not fit:\n{problems}") from None
    except SettingsError as error:
        problem = "an argument that begins with [ or { is read as JSON, and is none"
        raise InputError(f"cosmos {name}: {problem} ({short_reason(error)})") from None


def command_line(name: str, command: type[BaseModel]) -> type[CommandLine]:
    """Return the settings of a command line of which `command`, called `name`, is the only command."""
    subcommand: Any = CliSubCommand
    fields: Any = {name: subcommand[command]}
    return create_model("CosmosCommand", __base__=CommandLine, **fields)
