"""Difference between a new sweep and the one of its name: base, data, space, objectives, constraints."""

from collections.abc import Iterator
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.identity import changed_values, short_hash
from cosmos.config.printable_text import cosmos_command
from cosmos.config.sweep import Sweep
from cosmos.errors import CosmosError
from cosmos.run.sweep_directory import SweepDir, sweeps_of_name

MAX_CHANGES = 20
"""Largest number of changes that are listed."""


def describe_origin(sweep: Sweep) -> str:
    """Return the base and the data of a sweep, in a few words."""
    base = sweep.file.experiment or "params.yaml"
    return f"base {base}, data {sweep.base.data.name} (sha256 {short_hash(sweep.data)})"


def explain_new_sweep(sweep: Sweep, folder: SweepDir) -> str:
    """Return lines on how a sweep that has no directory yet differs from the newest of its name.

    Return "" for a sweep that exists, and for the first of its name.
    """
    other = None if exists(folder.definition) else newest_of_name(sweep.name, folder)
    if other is None:
        return ""
    try:
        changes = list(sweep_changes(other.sweep(), sweep)) or ["the order of space"]
    except CosmosError as error:
        changes = [str(error)]
    hidden = [f"and {len(changes) - MAX_CHANGES} more"] if len(changes) > MAX_CHANGES else []
    head = f"{sweep.id} is another sweep than {other.path.name}, which exists:"
    return "\n  ".join([head, *changes[:MAX_CHANGES], *hidden, *running_trials(other)])


def newest_of_name(name: str, folder: SweepDir) -> SweepDir | None:
    """Return the directory of the newest sweep of a name beside `folder`; None where there is none."""
    return next(iter(sweeps_of_name(name, folder.path.parent)), None)


def sweep_changes(old: Sweep, new: Sweep) -> Iterator[str]:
    """Yield what differs in the identity of two sweeps, as `path: old -> new`."""
    yield from changed_values({"base": base_values(old)}, {"base": base_values(new)})
    yield from changed_values(search_values(old), search_values(new))
    if old.data != new.data:
        hashes = f"sha256 {short_hash(old.data)} -> {short_hash(new.data)}"
        yield f"data {new.base.data.name}: prepared anew: {hashes}"


def base_values(sweep: Sweep) -> dict[str, Any]:
    """Return the base of a sweep: the experiment's name, and its parameters by section."""
    return {"experiment": sweep.file.experiment or "params.yaml", **sweep.base.model_dump(mode="json")}


def search_values(sweep: Sweep) -> dict[str, Any]:
    """Return space, objectives and constraints of a sweep, by parameter and by figure."""
    values = sweep.file.model_dump(mode="json", include={"space"})
    goals = {objective.figure: objective.goal for objective in sweep.file.objectives}
    order = list(goals) if len(goals) > 1 else []
    limits = {limit.figure: {"min": limit.min, "max": limit.max} for limit in sweep.file.constraints}
    return {**values, "objectives": goals, "order of objectives": order, "constraints": limits}


def running_trials(other: SweepDir) -> Iterator[str]:
    """Yield a remark on trials of a sweep that have not ended, as far as their records can be read."""
    try:
        count = sum(trial.state == "running" for trial in other.trials)
    except CosmosError:
        return
    if count:
        yield f"{count} of its trials have not ended; `{cosmos_command('cancel', other.path.name)}` ends them"
