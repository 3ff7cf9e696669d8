"""Damaged files: a command goes on as if nothing had been, or names the file; with it back, it goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.commands import Ended
from tests.faults.damage import Damage, damages, rewrite
from tests.faults.tries import (
    TINY_RUN,
    Try,
    check_answer,
    check_same_weights,
    check_trained_alike,
    draw_file,
    figures,
    remove,
    role,
    weights,
)
from tests.faults.world import LAST_STEP, SUITES

RUNS = ("whole", "half", "mine")


@dataclass(frozen=True)
class Use:
    """Command that reads files of a folder, and what must be true where it succeeds."""

    arguments: tuple[str, ...]
    check: Callable[[Try, Ended], None] = lambda attempt, ended: None
    is_list: bool = False
    """True for a command that shows many records, and fails of none"""
    data_root: str = "data"


def resumed(attempt: Try, ended: Ended) -> None:
    """Check the run that was to go on from a half; another value in its lines is taken for true."""
    if attempt.damaged is None or attempt.damaged.name != "metrics.jsonl":
        check_trained_alike(attempt, "half")
    else:
        check_same_weights(attempt, "half")


def evaluated(attempt: Try, ended: Ended) -> None:
    """Check the results that were measured again."""
    suite = ended.command.split()[2]
    ours = figures(attempt.place / "runs" / "mine", suite)
    reference = figures(attempt.world.path / "runs" / "mine", suite)
    same = {name.partition("@")[0]: models for name, models in ours.items()}
    assert reference.items() <= same.items() or "damaged" in ended.output, (
        f"other figures\n{ended.describe()}"
    )


def lists_all_runs(attempt: Try, ended: Ended) -> None:
    """Check that no run is missing from a list."""
    missing = [name for name in RUNS if name not in ended.output]
    assert not missing, f"{missing} are not listed\n{ended.describe()}"


def kept_ended_trials(attempt: Try, ended: Ended) -> None:
    """Check that the records of trials that had ended are as they were."""
    for record in attempt.world.path.glob("runs/*/trial-*/trial.json"):
        ours = attempt.place / record.relative_to(attempt.world.path)
        if ours != attempt.damaged and json.loads(record.read_bytes())["state"] != "paused":
            assert ours.read_bytes() == record.read_bytes(), f"{ours} was rewritten\n{ended.describe()}"


def noticed(attempt: Try, ended: Ended) -> None:
    """Check that a file with checksums is whole where a verification says so."""
    path = attempt.damaged
    if path is None or path.suffix not in CHECKED:
        return
    original = attempt.world.path / path.relative_to(attempt.place)
    is_newest = path.name == f"step-{LAST_STEP:08}.pt" or "trial-" in str(path)
    if not path.exists() and not (path.suffix == ".pt" and is_newest) and path.suffix in MAY_BE_GONE:
        return
    is_whole = path.is_file() and path.read_bytes() == original.read_bytes()
    assert is_whole, f"{path.name} is damaged, and taken for whole\n{ended.describe()}"


CHECKED = {".tar", ".pt", ".npz", ".safetensors"}
"""Endings of files of which every byte has a checksum."""

MAY_BE_GONE = {".pt", ".npz"}
"""Endings of older checkpoints and of embeddings, which are deleted to make room."""

RESUME = Use(("pretrain", *TINY_RUN, "half"), resumed)
EVALUATIONS = [Use(("evaluate", suite, *TINY_RUN, "mine"), evaluated) for suite in SUITES]
LISTS = [
    Use(("runs", "list"), lists_all_runs, is_list=True),
    Use(("runs", "list", "--json"), lists_all_runs, is_list=True),
    Use(("runs", "best", "loss"), is_list=True),
    Use(("runs", "export", "runs.csv"), is_list=True),
    Use(("jobs",), is_list=True),
    Use(("compare", *RUNS)),
]


def uses_of_sweep(name: str, *begun: str) -> list[Use]:
    """Return the commands that read a sweep; `begun`: the options that it was begun with."""
    return [
        Use(("sweep", name, *begun), kept_ended_trials),
        Use(("sweep", name, *begun, "--trials", "3"), kept_ended_trials),
        Use(("compare", name)),
        Use(("forecast", name)),
        Use(("report", name)),
        Use(("verify", name), noticed),
        Use(("jobs",), is_list=True),
        Use(("runs", "list"), lists_all_runs, is_list=True),
    ]


PIPELINE = ("--experiment", "pipeline/experiment.yaml")
USES: dict[str, list[Use]] = {
    "data/demo": [
        RESUME,
        RESUME,
        *EVALUATIONS,
        Use(("prepare", "--experiment", "tiny")),
        Use(("datasets",)),
        Use(("plan", "--experiment", "tiny")),
        Use(("verify", "demo"), noticed),
    ],
    "runs/half": [
        RESUME,
        RESUME,
        RESUME,
        *LISTS,
        Use(("runs", "show", "half")),
        Use(("runs", "show", "half", "--timing")),
        Use(("verify", "half"), noticed),
    ],
    "runs/mine": [
        *EVALUATIONS,
        *LISTS,
        Use(("pretrain", *TINY_RUN, "mine")),
        Use(("verify", "mine"), noticed),
        Use(("attach", "mine")),
        Use(("cancel", "mine")),
        Use(("runs", "show", "mine")),
        Use(("runs", "show", "mine", "--timing")),
        Use(("forecast", "mine")),
        Use(("report", "mine")),
        Use(("report", "whole", "--against", "mine")),
        Use(("export", "runs/mine/checkpoints/step-00000012.pt", "--to", "exported")),
    ],
    "runs/small": uses_of_sweep("small"),
    "runs/rungs": uses_of_sweep("rungs", "--like", "small"),
    "pipeline": [
        Use(("report", "pipeline")),
        Use(("pretrain", *PIPELINE, "--output", "pipeline/model"), data_root="pipeline/data"),
        Use(("prepare", *PIPELINE, "--output", "pipeline/data")),
        Use(
            (
                *("evaluate", "retrieval", *PIPELINE, "--checkpoint", "pipeline/model/checkpoint.pt"),
                *("--output", "pipeline/results/retrieval"),
            ),
            data_root="pipeline/data",
        ),
    ],
    "experiments": [
        Use(("params", "--experiment", "tiny")),
        Use(("experiments",)),
        Use(("sweep", "small", "--dry-run")),
        Use(("sweep", "rungs", "--like", "small")),
    ],
    "params.yaml": [
        Use(("params", "--experiment", "tiny")),
        Use(("experiments",)),
        Use(("sweep", "small", "--dry-run")),
        Use(("runs", "list"), lists_all_runs, is_list=True),
    ],
}


def attempt(attempt: Try) -> None:
    """Damage a file, and give a command that reads its folder; then put it back, and give it again."""
    attempt.copy_world()
    rng = attempt.rng
    prefix = rng.choice(sorted(USES))
    use = rng.choice(USES[prefix])
    path = draw_file(files_below(attempt.place, prefix), rng)
    damage, attempt.damaged = rng.choice(damages_in(attempt.place, path)), path
    attempt.tell(f"{name_of(damage)} of {path.relative_to(attempt.place)}")
    if "results" not in path.parts and use.arguments[0] == "evaluate":
        forget_results(attempt.place)
    original = attempt.place.with_name(f"{attempt.place.name}.original")
    shutil.copyfile(path, original)
    damage(path, rng)
    meet_damage(attempt, use, path, original)


def name_of(damage: Damage) -> str:
    """Return the name of a damage for the story of a try."""
    return damage.func.__name__ if isinstance(damage, partial) else damage.__name__


def damages_in(place: Path, path: Path) -> tuple[Damage, ...]:
    """Return the ways to damage a file; what says where it belongs may be replaced by another of its kind."""
    is_owned = path.suffix in CHECKED and "results" not in path.parts
    others = files_of_kind(place, path) if is_owned else []
    return (*damages(path), *([partial(replace_by_another, others)] * 3 if others else []))


def files_of_kind(place: Path, path: Path) -> list[Path]:
    """Return the files in `place` of the name of a file, but for numbers, and of other content."""
    kind = role(Path(path.name))
    files = [file for file in sorted(place.rglob(f"*{path.suffix}")) if role(Path(file.name)) == kind]
    content = weights if path.suffix == ".pt" else Path.read_bytes
    return [file for file in files if content(file) != content(path)]


def replace_by_another(others: list[Path], path: Path, rng: Random) -> None:
    """Put the content of one of `others` in the place of a file."""
    rewrite(path, lambda content: rng.choice(others).read_bytes())


def files_below(place: Path, prefix: str) -> list[Path]:
    """Return the files at or below a path that begins with `prefix`, but for code and empty locks."""
    paths = (*place.glob(f"{prefix}*"), *place.glob(f"{prefix}*/**/*"))
    files = [path for path in paths if path.is_file()]
    return [path for path in files if "code" not in path.parts and path.stat().st_size]


def forget_results(place: Path) -> None:
    """Remove the results of a run, so that they are measured again; sometimes from kept embeddings."""
    remove(place / "runs" / "mine" / "results")


def meet_damage(attempt: Try, use: Use, path: Path, original: Path) -> None:
    """Hold a command to its promises about a damaged file."""
    ended = attempt.cosmos(*use.arguments, data_root=use.data_root, data_wait_minutes="0.05")
    check_answer(ended, names_of(path, attempt.place))
    if ended.status == 0:
        use.check(attempt, ended)
        return
    assert not use.is_list, f"a list died of one file\n{ended.describe()}"
    attempt.tell(f"put {path.relative_to(attempt.place)} back")
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(original, path)
    attempt.damaged = None
    again = attempt.cosmos(*use.arguments, data_root=use.data_root, data_wait_minutes="0.05")
    assert again.status == 0, f"not as before with the file back\n{ended.describe()}\n{again.describe()}"
    use.check(attempt, again)


OTHER_NAMES = {
    "runs/*/params.yaml": ("holdsarunwithotherparameters",),
    "pipeline/data/*/params.json": ("waspreparedfromotherparameters",),
    "data/*/params.json": ("waspreparedfromotherparameters",),
    "experiments/sweeps/*.yaml": ("nosuchsweepinexperiments/sweeps",),
}
"""Messages, without spaces, about files that have other possible values, or are gone."""


def names_of(path: Path, place: Path) -> list[str]:
    """Return the names by which a message, without spaces, may call a file."""
    stem, relative = path.name.split(".")[0], path.relative_to(place)
    shard = [f"{stem}.tar"] if stem.startswith("shard-") else []
    others = [name for pattern, names in OTHER_NAMES.items() if relative.match(pattern) for name in names]
    return [path.name, *shard, *others]
