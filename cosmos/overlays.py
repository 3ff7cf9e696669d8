"""Where Params come from: params.yaml, then an overlay, then overrides; never the environment."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cosmos.params import Params

PARAMS_FILE = Path("params.yaml")


def load_params(
    experiment: str = "", overrides: dict[str, Any] | None = None, base: Path = PARAMS_FILE
) -> Params:
    """Params from `base`, then the overlay named by `experiment` (a path, or a name below experiments/), then
    `overrides`.

    Raises ValueError that names each wrong key by its path and says what would do.
    """
    layers = [(str(base), read_mapping(base))]
    if experiment:
        layers.append((str(experiment_file(experiment)), read_mapping(experiment_file(experiment))))
    layers.append(("the command line", overrides or {}))
    values: dict[str, Any] = {}
    for _, layer in layers:
        values = merged(values, layer)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        sources = ", ".join(name for name, layer in layers if layer)
        raise ValueError(f"parameters from {sources}:\n{explain(error)}") from None


def merged(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `overlay` in place of its own, section by section."""
    result = dict(base)
    for key, value in overlay.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. ValueError names the file and says what is wrong with it."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such file; run from the root of the project, or name another file"
        ) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected sections such as `pretrain:`, found {type(value).__name__}")
    return value


def experiment_file(experiment: str) -> Path:
    """The overlay that `experiment` names: a path to a YAML file, or a file's stem in experiments/."""
    path = Path(experiment)
    return path if path.suffix in (".yaml", ".yml") else Path("experiments") / f"{experiment}.yaml"


def explain(error: ValidationError) -> str:
    """One line per problem of a validation: the key's path, the problem, the value that was given."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "no such key; `cosmos pretrain --help` lists them all"
        given = "" if isinstance(problem["input"], dict | BaseModel) else f" (given: {problem['input']!r})"
        lines.append(f"  {path}: {message}{given}" if path else f"  {message}")
    return "\n".join(lines)
