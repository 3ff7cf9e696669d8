"""Problems of settings, as a person reads them: a line for each, with the key's path."""

from pydantic import BaseModel, ValidationError


def explain_validation(error: ValidationError) -> str:
    """Return a line for each problem of a validation: path of the key, problem, value that was given."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            listing = "machine.example.yaml" if problem["loc"][0] == "slurm" else "`cosmos pretrain --help`"
            message = f"no such key; {listing} lists them all"
        given = "" if isinstance(problem["input"], dict | BaseModel) else f" (given: {problem['input']!r})"
        lines.append(f"  {path}: {message}{given}" if path else f"  {message}")
    return "\n".join(lines)
