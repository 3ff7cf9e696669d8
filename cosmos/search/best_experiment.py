"""Experiment with the parameters of a sweep's leading trial: experiments/<sweep>-best.yaml.

The file is replaced by its own sweep alone, and no longer once it was edited: its first line names the sweep
and the hash of the other lines.
"""

import hashlib
import os.path
import re
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.experiment import (
    EXPERIMENTS,
    PARAMS_YAML,
    experiment_file,
    load_params,
    take_experiment_in_force,
)
from cosmos.config.identity import flatten_sections
from cosmos.config.params import Params
from cosmos.config.printable_text import cosmos_command, printable
from cosmos.config.search_space import nest_sections
from cosmos.config.settings_file import dump_settings, read_settings
from cosmos.config.sweep import Sweep
from cosmos.errors import InputError
from cosmos.registry.candidates import Candidate
from cosmos.registry.sweep_difference import describe_origin
from cosmos.run.files import write_text

FIRST_LINE = re.compile(
    r"# Written by `cosmos sweep .*` of (?P<sweep>.+?); .* \(sha256 (?P<hash>[0-9a-f]{16})\)"
)
"""First line of a file that a sweep wrote."""


def write_best_experiment(sweep: Sweep, best: Candidate, verdict: str) -> tuple[str, list[str]]:
    """Write the best parameters as an experiment; return its file, and remarks on files that are kept.

    Where experiments/<sweep>-best.yaml is not this sweep's to replace, the sweep's id takes the place of its
    name. "" stands for a file that cannot be written, as where the base was deleted meanwhile.
    """
    kept: list[str] = []
    try:
        text = best_experiment(sweep, best, verdict)
    except InputError as error:
        return "", [f"no experiment is written: {error}"]
    for path in best_experiment_files(sweep):
        if not (owner := other_owner(path, sweep.id)):
            write_text(path, text)
            return str(path), kept
        kept.append(f"{path} is kept: {owner}")
    return "", [*kept, "delete or rename one of them to have the experiment written"]


def withdraw_best_experiment(sweep: Sweep) -> list[str]:
    """Delete the experiments that a sweep wrote while a trial led it; return remarks on them."""
    own = [path for path in best_experiment_files(sweep) if exists(path) and not other_owner(path, sweep.id)]
    for path in own:
        path.unlink()
    return [f"{path} is deleted: no trial leads any more" for path in own]


def best_experiment_files(sweep: Sweep) -> list[Path]:
    """Return the files that may hold the best parameters of a sweep, the first choice first."""
    return [EXPERIMENTS / f"{name}-best.yaml" for name in (sweep.name, sweep.id)]


def other_owner(path: Path, sweep_id: str) -> str:
    """Return whose an existing file is, in words; "" where the sweep may write it."""
    if not exists(path):
        return ""
    first, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    written = FIRST_LINE.fullmatch(first)
    if not written:
        return "no sweep of this version wrote it"
    if written["sweep"] != printable(sweep_id):
        return f"{written['sweep']} wrote it"
    return "" if written["hash"] == text_hash(rest) else "it was edited"


def text_hash(text: str) -> str:
    """Return sixteen digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def best_experiment(sweep: Sweep, best: Candidate, verdict: str) -> str:
    """Return the text of the experiment: the best parameters that differ from those of the sweep's base."""
    base = sweep.file.experiment
    about = f"{sweep.id}, {describe_origin(sweep)}: {verdict}"
    head: dict[str, Any] = {"about": about, "expected": describe_candidate(best)}
    if base:
        head["extends"] = os.path.relpath(experiment_file(base), EXPERIMENTS)
    without = flatten_sections(
        (load_params(base) if base else params_without_experiment()).model_dump(mode="json")
    )
    wanted = flatten_sections(sweep.params(best.asked, 0).model_dump(mode="json"))
    differing = {key: value for key, value in wanted.items() if without.get(key) != value}
    text = dump_settings({**head, **nest_sections(differing)})
    written = printable(f"# Written by `{cosmos_command('sweep', sweep.name)}` of {sweep.id}")
    return f"{written}; edited, it is no longer replaced (sha256 {text_hash(text)})\n{text}"


def params_without_experiment() -> Params:
    """Return the parameters of params.yaml without the experiment in force: those that an overlay extends."""
    values = read_settings(PARAMS_YAML).values
    take_experiment_in_force(PARAMS_YAML, values)
    return Params.model_validate(values)


def describe_candidate(candidate: Candidate) -> str:
    """Return a line with a candidate's objectives and the number of its seeds."""
    seeds = f"{candidate.num_seeds} seed{'s' if candidate.num_seeds > 1 else ''}"
    return ", ".join([*(f"{name} {figure}" for name, figure in candidate.figures.items()), seeds])
