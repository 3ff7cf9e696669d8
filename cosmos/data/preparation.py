"""Preparation of a dataset: a source -> shards with a manifest, in parallel, continued where it was killed.

    <data_root>/<name>/params.json                       the parameters that it is prepared from
                       {train,heldout}/shard-00000.tar   samples
                                       shard-00000.idx.npz, shard-00000.json
                                                         their index; the record of the task
                                       manifest.json     written last: the split is finished
                       evaluation/                       of the demo world: datasets for evaluation
                       source.json                       number, bytes and digest of the files of the source
                       skipped.json                      after a failure: all inputs that cannot be used
                       .preparing                        the process that prepares it; others wait

A shard whose files are there is not written again. Shards that exist already are indexed where they are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from cosmos.config.disk_reading import exists, find_paths, list_names
from cosmos.config.identity import identifying_values
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_share
from cosmos.config.params import DataParams
from cosmos.config.printable_text import printable
from cosmos.config.progress_bar import ProgressBar
from cosmos.data.demo_world import are_evaluation_sets_written, write_evaluation_sets
from cosmos.data.folders import check_utf8
from cosmos.data.manifest import MANIFEST_FILE, CaptionSchema, Manifest, Skipped
from cosmos.data.shards.damage import is_whole
from cosmos.data.shards.existing import find_shards, shards_schema
from cosmos.data.shards.task_processes import run_tasks
from cosmos.data.shards.tasks import (
    IndexShard,
    ShardOutcome,
    ShardTask,
    WriteShard,
    recorded_outcome,
    task_files,
)
from cosmos.data.sources.listing import LISTING_FILE, SourceListing, describe_difference, inspect_source
from cosmos.data.sources.openers import open_source
from cosmos.distributed.cores import usable_cores
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.files import write_json
from cosmos.run.records import read_record
from cosmos.run.sole_writer import sole_writer

DATASET_PARAMS_FILE = "params.json"
SKIPPED_FILE = "skipped.json"
WRITER_FILE = ".preparing"
EVALUATION_FOLDER = "evaluation"
NUM_SKIPPED_NAMED = 20
MAX_PROCESSES = 8

LISTING_SECONDS = 20.0
"""Time for which a source is listed to tell whether it is the same; large ones on slow disks take longer."""

RECORD_FILES = ("shard-[0-9]*.json", "*-????????????.json")
"""Patterns of the records of tasks, which write shards or index those that exist already."""

SHARD_FILES = (*RECORD_FILES, "shard-[0-9]*.tar", "*.idx.npz")
"""Patterns of the files that tasks write into the folder of a split."""


def prepare_dataset(
    params: DataParams, machine: Machine, processes: int | None = None
) -> dict[str, Manifest]:
    """Prepare the dataset `params.name` below `machine.data_root`; return the manifest of each of its splits.

    Returns at once when it is prepared already; waits while another process prepares it. `processes` work on
    a shard each at a time; None: as many as there are cores, at most MAX_PROCESSES.

    Raises InputError that names the wrong key, file or folder and the remedy: also when the folder
    was prepared from other parameters, or lacks shards that its source, now another, would not give again;
    DamagedDataError when more than `params.max_skipped` of the inputs cannot be used; TransientError when a
    disk or the network fails: the same call goes on from there.
    """
    folder = machine.data_root / params.name
    writer = folder / WRITER_FILE
    finished = _find_finished(folder, params, machine)
    if finished and not exists(writer):
        return finished
    with sole_writer(writer, f"{folder}: is being prepared"):
        return _find_finished(folder, params, machine) or _prepare(folder, params, machine, processes)


def _prepare(
    folder: Path, params: DataParams, machine: Machine, processes: int | None
) -> dict[str, Manifest]:
    """Prepare the dataset in `folder`, of which this process is the writer, from where it was left."""
    listing = _drop_if_other_source(folder, params, machine)
    plan = (_plan_indexing if params.source == "shards" else _plan_writing)(params, machine, folder)
    write_json(folder / DATASET_PARAMS_FILE, _deciding(params.model_dump(mode="json")))
    if listing:
        listing.write(folder)
    if params.source == "demo":
        write_evaluation_sets(params, folder / EVALUATION_FOLDER)
    outcomes = _do_all(plan, processes or min(MAX_PROCESSES, usable_cores()))
    manifests = {split: _manifest(plan, params, outcomes, folder / split) for split in _splits(params)}
    _check_usable(folder, params, plan, manifests)
    _tidy(plan, folder, params)
    for split, manifest in manifests.items():
        manifest.write(folder / split)
    return manifests


# Datasets that exist already.


def _find_finished(folder: Path, params: DataParams, machine: Machine) -> dict[str, Manifest]:
    """Return the manifests of a dataset to which nothing is to be done; else nothing.

    Raises InputError where the folder holds another dataset, or what is none of ours.
    """
    _check_same_params(folder, params)
    if params.source == "demo" and not are_evaluation_sets_written(params, folder / EVALUATION_FOLDER):
        return {}
    return find_prepared(params, machine)


def _deciding(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a `data` section, as JSON has them, that decide what is in the shards."""
    unused = {"max_skipped"} if section.get("source") == "demo" else {"max_skipped", "demo"}
    return {key: value for key, value in section.items() if key not in unused}


def _check_same_params(folder: Path, params: DataParams) -> None:
    for key in ("annotations", "images"):
        check_utf8(f"data.{key}", getattr(params, key))
    remedy = f"delete {folder} or choose another data.name"
    recorded = _recorded_params(folder, params, remedy)
    if recorded is None:
        if names := list_names(folder):  # without what is hidden, such as what a killed preparation left
            problem = f"holds {names[0]}, but no {DATASET_PARAMS_FILE} that describes it"
            raise InputError(f"{folder}: {problem}; {remedy}")
        return
    sections = recorded, _deciding(params.model_dump(mode="json"))
    old, new = (identifying_values(values, "data") for values in sections)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if keys:
        changes = ", ".join(f"data.{key}: {old.get(key)!r} -> {new.get(key)!r}"[:200] for key in keys[:9])
        raise InputError(f"{folder}: was prepared from other parameters ({changes}); {remedy}")


def _recorded_params(folder: Path, params: DataParams, remedy: str) -> dict[str, Any] | None:
    """Return the parameters that are recorded in `folder`, if any; manifests have them, too."""
    path = folder / DATASET_PARAMS_FILE
    try:
        return read_record(path, dict[str, Any], "record of parameters", remedy)
    except (FileNotFoundError, NotADirectoryError, DamagedDataError):
        if manifests := _manifests(folder, params):
            write_json(path, _deciding(manifests["train"].source))
            return _deciding(manifests["train"].source)
        if exists(path):
            raise
        return None


def _splits(params: DataParams) -> tuple[str, ...]:
    has_heldout = params.source == "demo" or (params.source != "shards" and params.num_heldout > 0)
    return ("train", "heldout") if has_heldout else ("train",)


def find_prepared(params: DataParams, machine: Machine) -> dict[str, Manifest]:
    """Return the manifests of a dataset that is finished and whole; else nothing."""
    folder = machine.data_root / params.name
    manifests = _manifests(folder, params)
    is_all_there = all(
        is_whole(shard, folder / split) for split, manifest in manifests.items() for shard in manifest.shards
    )
    return manifests if is_all_there else {}


def _manifests(folder: Path, params: DataParams) -> dict[str, Manifest]:
    """Return the manifests of a dataset that was finished once; else nothing."""
    try:
        return {split: Manifest.read(folder / split) for split in _splits(params)}
    except (InputError, DamagedDataError):
        return {}


def find_source_difference(params: DataParams, machine: Machine) -> str:
    """Return what tells the source of a prepared dataset from what it was then, for people; "" for nothing.

    Sources in object storage are not compared, nor those that take longer than LISTING_SECONDS to list.
    """
    folder = machine.data_root / params.name
    then, now = SourceListing.read(folder), inspect_source(params, machine, LISTING_SECONDS)
    if now is None:
        return ""
    is_newer = now.newest > prepared_time(params, machine)
    difference = describe_difference(then, now.listing) if then else ""
    return difference or ("some of its files were changed after that" if is_newer else "")


def prepared_time(params: DataParams, machine: Machine) -> float:
    """Return the time, in seconds, at which a dataset was finished."""
    return (machine.dataset(params.name, "train") / MANIFEST_FILE).stat().st_mtime


def _drop_if_other_source(folder: Path, params: DataParams, machine: Machine) -> SourceListing | None:
    """Drop what was prepared before the source changed; return the listing to record, None for no other one.

    Raises InputError for a dataset that was finished, and lost files that this source would not give again.
    """
    then, now = SourceListing.read(folder), inspect_source(params, machine, math.inf)
    if then is None or now is None:
        return now.listing if now else None
    difference = describe_difference(then, now.listing)
    if difference and _manifests(folder, params):
        raise InputError(
            f"{folder}: lacks files that it had, and its source is not the one that it was prepared from"
            f" ({difference}); restore either, or delete {folder} to prepare it anew"
        )
    if not difference and now.newest <= (folder / LISTING_FILE).stat().st_mtime:
        return None
    for record in _files_of_shards(folder, params, RECORD_FILES):
        record.unlink()
    return now.listing


def _files_of_shards(folder: Path, params: DataParams, names: Sequence[str]) -> list[Path]:
    return [p for split in _splits(params) for name in names for p in find_paths(folder, f"{split}/{name}")]


@dataclass(frozen=True)
class _Plan:
    schema: CaptionSchema
    tasks: tuple[ShardTask, ...]
    skipped: tuple[Skipped, ...]
    """inputs that proved unusable while they were listed"""
    unit: str
    """name of a task's inputs in the progress bar"""
    scratch: tuple[Path, ...] = ()
    """files that nobody needs once the tasks are done"""


def _plan_writing(params: DataParams, machine: Machine, folder: Path) -> _Plan:
    source = open_source(params, machine)
    size = params.samples_per_shard
    tasks = tuple(
        WriteShard(
            folder / split,
            f"shard-{start // size:05d}.tar",
            machine.source_root,
            inputs[start : start + size],
            source.read,
            machine.source(params.images),
            params.max_pixels,
        )
        for split, inputs in source.splits.items()
        for start in range(0, len(inputs), size)
    )
    skipped = tuple(entry.below(machine.source_root) for entry in source.skipped)
    return _Plan(source.schema, tasks, skipped, "samples", source.scratch)


def _plan_indexing(params: DataParams, machine: Machine, folder: Path) -> _Plan:
    shards = find_shards(params.annotations, machine)
    schema = shards_schema(shards[0], machine)
    tasks = tuple(
        IndexShard(folder / "train", shard, number, machine, schema, params.max_pixels)
        for number, shard in enumerate(shards)
    )
    return _Plan(schema, tasks, (), "shards")


# Its execution.


def _do_all(plan: _Plan, processes: int) -> list[ShardOutcome]:
    """Return the outcomes of the plan's tasks, in its order; tasks recorded as done are not done again."""
    outcomes = {
        number: outcome for number, task in enumerate(plan.tasks) if (outcome := recorded_outcome(task))
    }
    to_do = {number: task for number, task in enumerate(plan.tasks) if number not in outcomes}
    columns = (TextColumn("prepare"), BarColumn(), MofNCompleteColumn(), TextColumn(plan.unit, markup=False))
    with ProgressBar(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("prepare", total=sum(task.num_inputs for task in plan.tasks))
        progress.advance(bar, sum(plan.tasks[number].num_inputs for number in outcomes))
        with _telling_what_is_kept(outcomes, len(plan.tasks)):
            for number, outcome in run_tasks(to_do, processes):
                outcomes[number] = outcome
                progress.advance(bar, plan.tasks[number].num_inputs)
    return [outcomes[number] for number in range(len(plan.tasks))]


@contextmanager
def _telling_what_is_kept(outcomes: Sized, number: int) -> Iterator[None]:
    """Add the number of shards that are prepared to the message of a TransientError."""
    try:
        yield
    except TransientError as error:
        kept = f"{len(outcomes)} of {number} shards are prepared, and kept"
        raise TransientError(f"{error}; {kept}") from None


def _tidy(plan: _Plan, folder: Path, params: DataParams) -> None:
    """Remove what nobody needs once all shards are there: what killed preparations and other sources left."""
    for path in (*plan.scratch, folder / SKIPPED_FILE):
        path.unlink(missing_ok=True)
    for path in set(_files_of_shards(folder, params, SHARD_FILES)).difference(*map(task_files, plan.tasks)):
        path.unlink()
    for place in (folder, *(folder / split for split in _splits(params))):
        remove_abandoned(place)


# The manifests.


def _manifest(plan: _Plan, params: DataParams, outcomes: Sequence[ShardOutcome], folder: Path) -> Manifest:
    done = [outcome for task, outcome in zip(plan.tasks, outcomes, strict=True) if task.folder == folder]
    listed = plan.skipped if folder.name == "train" else ()
    return Manifest(
        schema=plan.schema,
        shards=tuple(outcome.shard for outcome in done if outcome.shard.num_samples),
        skipped=listed + tuple(skipped for outcome in done for skipped in outcome.skipped),
        source=params.model_dump(mode="json"),
    )


def _check_usable(folder: Path, params: DataParams, plan: _Plan, manifests: dict[str, Manifest]) -> None:
    """Raise DamagedDataError when too many inputs were skipped, InputError when a split has no sample.

    No more shards that exist already may be broken, either: each counts as one input, with all its samples.
    """
    skipped = [entry for manifest in manifests.values() for entry in manifest.skipped]
    num_inputs = len(skipped) + sum(manifest.num_samples for manifest in manifests.values())
    shards = {task.shard for task in plan.tasks}
    broken = [entry for entry in skipped if entry.input in shards]
    for entries, number, noun in ((skipped, num_inputs, "inputs"), (broken, len(shards), "shards")):
        if len(entries) > params.max_skipped * number:
            write_json(folder / SKIPPED_FILE, [asdict(entry) for entry in skipped])
            share = format_share(len(entries) / number)
            problem = f"{len(entries)} of {number} {noun} ({share}) cannot be used"
            raise DamagedDataError(_skipped_message(folder, params, entries, problem))
    for split, manifest in manifests.items():
        if not manifest.num_samples:
            raise InputError(f"{folder / split}: no sample in it; are data.source and its paths right?")


def _skipped_message(folder: Path, params: DataParams, skipped: Sequence[Skipped], problem: str) -> str:
    return "\n".join(
        (
            f"{problem}, more than data.max_skipped allows ({format_share(params.max_skipped)}):",
            *(
                f"  {printable(entry.input)}: {printable(entry.reason.removeprefix(f'{entry.input}: '))}"
                for entry in skipped[:NUM_SKIPPED_NAMED]
            ),
            f"All of them are in {folder / SKIPPED_FILE}. Correct them and delete {folder}; or run again "
            "with a larger --data.max_skipped: what is prepared is kept",
        )
    )
