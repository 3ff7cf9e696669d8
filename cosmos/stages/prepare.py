"""Stage `prepare`: shards and manifests from a source of images and captions, and a preview of samples."""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.preparation import find_prepared, find_source_difference, prepare_dataset, prepared_time
from cosmos.data.shards.samples import ShardedSamples
from cosmos.errors import DamagedDataError, TransientError
from cosmos.report.contact_sheet import contact_sheet
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.files import replacing

logger = logging.getLogger(__name__)

NUM_PREVIEWED = 24


def prepare(params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Prepare shards and manifests and draw a preview; return the summary of each split and its path.

    The summary tells of a dataset that was prepared before, and what tells its source from what it was then.
    Raises as `prepare_dataset`.
    """
    is_prepared = bool(find_prepared(params.data, machine))
    manifests = prepare_dataset(params.data, machine)
    summary = summarise_dataset(params, machine, manifests)
    if is_prepared:
        summary["prepared_before"] = time_text(prepared_time(params.data, machine))
        summary["source_differs"] = find_source_difference(params.data, machine)
    if not quiet:
        print_summary(params, machine, summary)
    return summary


def summarise_dataset(params: Params, machine: Machine, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return the summary of each split of a prepared dataset; draw its preview unless it is there."""
    folders = {split: machine.dataset(params.data.name, split) for split in manifests}
    summary: dict[str, Any] = {
        split: summarise_split(folders[split], manifest) for split, manifest in manifests.items()
    }
    preview = machine.data_root / params.data.name / "preview.png"
    if not exists(preview):
        draw_preview(ShardedSamples(folders["train"], machine), preview, params.data.max_pixels)
    return {**summary, "prepared_before": "", "source_differs": "", "preview": str(preview)}


def print_summary(params: Params, machine: Machine, summary: Mapping[str, Any]) -> None:
    """Print the summary of a dataset."""
    name, folder = params.data.name, machine.data_root / params.data.name
    if summary["prepared_before"]:
        print_text(f"{name}: was prepared before, at {summary['prepared_before']}; nothing was done")
    if summary["source_differs"]:
        print_text(
            f"{name}: its source is not the same any more: {summary['source_differs']}; to prepare it anew,"
            f" delete {folder}, or choose another --data.name"
        )
    for split, figures in summary.items():
        if isinstance(figures, dict):
            counts = [count_of(figures[f"num_{noun}s"], noun) for noun in ("sample", "shard")]
            skipped = f"{count_of(figures['num_skipped'], 'input')} skipped"
            print_text(f"{name}, {split}: {' in '.join(counts)}, {skipped}; {figures['manifest']}")
    if exists(Path(summary["preview"])):
        print_text(f"preview of some samples: {summary['preview']}")


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, as `1 shard` or `2 shards`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def time_text(seconds: float) -> str:
    """Return a time in seconds since 1970 as a date and time of this place."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def draw_preview(samples: ShardedSamples, preview: Path, max_pixels: int) -> None:
    """Draw the first samples into the PNG `preview`; where one cannot be read, warn and draw nothing."""
    try:
        first = [samples.read(i) for i in range(min(NUM_PREVIEWED, len(samples)))]
        sheet = contact_sheet(first, max_pixels)
    except (DamagedDataError, TransientError) as error:
        logger.warning("%s: no preview: %s", samples.folder, error)
        return
    remove_abandoned(preview.parent)
    with replacing(preview) as temporary:
        sheet.save(temporary, "PNG")


def summarise_split(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the manifest's path, and the numbers of samples, shards and skipped inputs of a split."""
    return {
        "manifest": str(folder / MANIFEST_FILE),
        "num_samples": manifest.num_samples,
        "num_shards": len(manifest.shards),
        "num_skipped": len(manifest.skipped),
    }
