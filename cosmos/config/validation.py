"""Messages for invalid settings: a line for each problem, with the path of its key."""

from collections.abc import Sequence
from itertools import takewhile

from pydantic import BaseModel, ValidationError

MACHINE_LISTING = "machine.example.yaml"
"""File that lists the settings of a machine, and the keys of a job request."""


def explain_validation(
    error: ValidationError, listing: str = "`cosmos pretrain --help`", subcommands: Sequence[str] = ()
) -> str:
    """Return a line for each problem of a validation: path of the key, problem, value that was given.

    `listing`: file or command that lists the keys which exist. `subcommands`: arguments of a command line;
    the names of commands at their beginning, with which paths begin, too, are left out.
    """
    lines = []
    for problem in error.errors(include_url=False):
        keys = list(map(str, problem["loc"]))
        pairs = zip(keys, subcommands, strict=False)
        num_commands = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        path = ".".join(keys[num_commands:])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"no such key; {listing} lists them all"
        given = "" if isinstance(problem["input"], dict | BaseModel) else f" (given: {problem['input']!r})"
        lines.append(f"  {path}: {message}{given}" if path else f"  {message}")
    return "\n".join(lines)
