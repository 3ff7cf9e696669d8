"""Base class of commands, and the run of a subcommand."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliApp, get_subcommand

from cosmos.errors import InputError


class Command(BaseModel):
    """A command whose result programs can have as JSON."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    as_json: bool = Field(default=False, alias="json")
    """print the result as JSON, for programs"""

    def print_json(self, value: Any) -> None:
        """Print a result as JSON, if --json was given."""
        if self.as_json:
            print(json.dumps(value, indent=2))


def run_chosen(command: BaseModel, name: str) -> None:
    """Run the subcommand that was chosen of the command called `name`. Raises InputError where none was."""
    if get_subcommand(command, is_required=False) is None:
        raise InputError(f"a command is missing; `{name} --help` lists them")
    CliApp.run_subcommand(command)
