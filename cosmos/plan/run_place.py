"""Place that a run would be made in: disks, partition, the run of its name, data of its evaluations."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.errors import CosmosError
from cosmos.evaluation.dataset_files import is_transient
from cosmos.launch.partitions import Partition
from cosmos.run.directory import RunDir, refuse_other_params

if TYPE_CHECKING:
    from cosmos.evaluation.card import DatasetCard

LOCAL_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
"""Folders that every machine has for itself, so that the nodes of a job do not share them."""


@dataclass(frozen=True)
class RunPlace:
    """Facts about the machine and the cluster that a plan is held against; what is not known is left open."""

    partitions: tuple[Partition, ...] = ()
    """partitions of the cluster; none where no Slurm answers"""
    run_disk: int | None = None
    """bytes that are free for checkpoints"""
    data_disk: int | None = None
    """bytes that are free for a dataset"""
    is_prepared: bool = True
    """True when the training data has a manifest"""
    run: Path | None = None
    """run directory, where the plan is of a run that has a name"""
    run_problem: str = ""
    """reason for which the run directory takes no run with these parameters"""
    evaluated_images: int = 0
    """images of an evaluation while training, as far as their number is known"""
    unmeasurable: tuple[str, ...] = ()
    """reasons for which datasets of evaluations while training cannot be measured"""
    remote_shard_bytes: int = 0
    """bytes of the largest remote shard; 0: shards lie on a disk"""
    cache_disk: int | None = None
    """bytes that are free for copies of remote shards"""
    has_wandb_key: bool = True
    """False: runs are to be shown online, and there is no API key"""


def inspect_place(
    params: Params, machine: Machine, partitions: tuple[Partition, ...] = (), run: Path | None = None
) -> RunPlace:
    """Return the facts about this machine that a plan is held against; nothing is written."""
    folder = machine.dataset(params.data.name, "train")
    is_prepared = exists(folder / MANIFEST_FILE)
    images, reasons = inspect_evaluations(params, machine) if is_prepared else (0, ())
    saved = saved_bytes(run) if run else 0
    free = free_bytes(machine.runs_root)
    return RunPlace(
        partitions=partitions,
        run_disk=None if free is None else free + saved,
        data_disk=free_bytes(machine.data_root),
        is_prepared=is_prepared,
        run=run,
        run_problem=run_problem(run, params) if run else "",
        evaluated_images=images,
        unmeasurable=reasons,
        remote_shard_bytes=remote_shard_bytes(folder),
        cache_disk=free_bytes(machine.cache_root),
        has_wandb_key=not is_wandb_key_missing(machine),
    )


def free_bytes(folder: Path) -> int | None:
    """Return the bytes that this user may still write below a folder, or where it will be made."""
    whole = folder.absolute()
    for existing in (whole, *whole.parents):
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            continue
    return None


def saved_bytes(run: Path) -> int:
    """Return the bytes of the checkpoints that a run has, in whose place new ones come."""
    with suppress(OSError):
        return sum(path.stat().st_size for path in RunDir(run).saved_checkpoints)
    return 0


def remote_shard_bytes(folder: Path) -> int:
    """Return the bytes of the largest shard of a split that lies elsewhere than on a disk; 0 for none."""
    try:
        shards = Manifest.read(folder).shards
    except CosmosError:
        return 0
    return max((shard.num_bytes for shard in shards if "://" in shard.path), default=0)


def run_problem(run: Path, params: Params) -> str:
    """Return the reason for which a run directory takes no run with these parameters; "" for none."""
    try:
        refuse_other_params(RunDir(run), params)
    except (CosmosError, OSError) as error:
        return str(error)
    return ""


def inspect_evaluations(params: Params, machine: Machine) -> tuple[int, tuple[str, ...]]:
    """Return the images of an evaluation while training, and the reasons for which it would fail.

    Training refuses to begin where there is one.
    """
    if not params.pretrain.evaluate_every_epochs:
        return 0, ()
    try:
        cards = requested_cards(params)
    except CosmosError as error:
        return 0, (str(error),)
    reasons = (unmeasurable_reason(card, params, machine) for card in cards)
    return sum(card.num_images for card in cards), tuple(filter(None, reasons))


def requested_cards(params: Params) -> "list[DatasetCard]":
    """Return the cards of the datasets that are measured while training; raises as `requested`."""
    from cosmos.evaluation.suite import suites  # late: most plans evaluate after training alone

    by_name = suites(params.evaluate)
    names = dict.fromkeys(params.evaluate.while_training)
    return [card for name in names for card in by_name[name].requested()]


def unmeasurable_reason(card: "DatasetCard", params: Params, machine: Machine) -> str:
    """Return the reason for which a dataset cannot be measured; "" for none, or a disk that fails."""
    try:
        card.find(params, machine)
    except (CosmosError, OSError) as error:
        return "" if is_transient(error) else f"{card.name}: {error}"
    return ""


def is_wandb_key_missing(machine: Machine) -> bool:
    """Return True where runs are to be shown online, and neither environment nor netrc has a key."""
    if machine.wandb.own_mode not in ("online", "run") or os.environ.get("WANDB_API_KEY"):
        return False
    from cosmos.tracking.session import has_wandb_key

    return not has_wandb_key()


def is_node_local(folder: Path) -> bool:
    """Return True for a folder that each node of a cluster has for itself."""
    return any(folder.absolute().is_relative_to(local) for local in LOCAL_FOLDERS)
