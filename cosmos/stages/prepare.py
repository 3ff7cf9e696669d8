"""Stage `prepare`: shards and manifests from a source of images and captions, and a preview of samples."""

import logging
from pathlib import Path
from typing import Any

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.preparation import prepare_dataset
from cosmos.data.shards.samples import ShardedSamples
from cosmos.errors import DamagedDataError
from cosmos.report.contact_sheet import contact_sheet
from cosmos.run.files import replacing

logger = logging.getLogger(__name__)

NUM_PREVIEWED = 24


def prepare(params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Prepare shards and manifests and draw a preview; return the summary of each split and its path.

    Raises as `prepare_dataset`.
    """
    manifests = prepare_dataset(params.data, machine)
    summary = {
        split: summarise_split(machine.dataset(params.data.name, split), manifest)
        for split, manifest in manifests.items()
    }
    preview = machine.data_root / params.data.name / "preview.png"
    if not preview.exists():
        draw_preview(ShardedSamples(machine.dataset(params.data.name, "train"), machine), preview)
    if not quiet:
        for split, figures in summary.items():
            print(
                f"{split}: {figures['num_samples']} samples in {figures['num_shards']} shards, "
                f"{figures['num_skipped']} inputs skipped; {figures['manifest']}"
            )
        if preview.exists():
            print(f"preview of some samples: {preview}")
    return {**summary, "preview": str(preview)}


def draw_preview(samples: ShardedSamples, preview: Path) -> None:
    """Draw the first samples into the PNG `preview`; where one of them is damaged, warn and draw nothing."""
    try:
        sheet = contact_sheet([samples.read(i) for i in range(min(NUM_PREVIEWED, len(samples)))])
    except DamagedDataError as error:
        logger.warning("no preview: %s", error)
        return
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
