"""Prepare: a source of images and captions becomes shards, a manifest, and a picture of some samples."""

import logging
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.preparation import prepare_dataset as prepare_dataset
from cosmos.data.shards import ShardedSamples
from cosmos.errors import DamagedDataError
from cosmos.report.contact_sheet import contact_sheet
from cosmos.run import provenance
from cosmos.run.dvc_versions import recorded_versions
from cosmos.run.files import replace_folder, replacing, write_text

logger = logging.getLogger(__name__)

NUM_PREVIEWED = 24
PREPARING = ("data",)
"""Parts of the library that decide what a dataset holds."""


def prepare(params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Shards, manifests and a picture of some samples; returns what is where."""
    manifests = prepare_dataset(params.data, machine)
    summary = {
        split: summarise_split(machine.dataset(params.data.name, split), m) for split, m in manifests.items()
    }
    preview = machine.data_root / params.data.name / "preview.png"
    if not preview.exists():
        draw_preview(ShardedSamples(machine.dataset(params.data.name, "train"), machine), preview)
    if not quiet:
        for split, found in summary.items():
            print(
                f"{split}: {found['num_samples']} samples in {found['num_shards']} shards, "
                f"{found['num_skipped']} inputs skipped; {found['manifest']}"
            )
        if preview.exists():
            print(f"a look at some of them: {preview}")
    return {**summary, "preview": str(preview)}


def prepare_into(output: Path, params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Prepares beside `output`, where it goes on after an interruption, and then moves it to `output`.

    Only what the same parameters and code began is gone on with. Returns what `prepare` returns.
    """
    state = sha256(
        f"{params.data.model_dump_json()} {provenance.source_digest(PREPARING)}".encode()
    ).hexdigest()
    there = machine.model_copy(update={"data_root": output})
    if not is_left(output, state, there.dataset(params.data.name, "train") / MANIFEST_FILE):
        work = output.with_name(f".{output.name}-{state[:8]}")
        prepare(params, machine.model_copy(update={"data_root": work}), quiet=True)
        replace_folder(work, output)
        write_text(state_file(output), state)
        for begun in output.parent.glob(f".{output.name}-*"):  # and interrupted, of something else
            shutil.rmtree(begun, ignore_errors=True)
    return prepare(params, there, quiet)


def is_left(output: Path, state: str, manifest: Path) -> bool:
    """Whether `output` is of this state already, but DVC could not take it over: disks do get full."""
    made_from = state_file(output)
    return (
        made_from.exists()
        and made_from.read_text() == state
        and manifest.exists()
        and not recorded_versions(manifest)
    )


def state_file(output: Path) -> Path:
    """The file that says what `output` was made from."""
    return output.with_name(f"{output.name}.state")


def draw_preview(samples: ShardedSamples, preview: Path) -> None:
    """A picture of the first samples. What keeps one from being shown is told, and is no failure."""
    try:
        sheet = contact_sheet([samples.read(i) for i in range(min(NUM_PREVIEWED, len(samples)))])
    except DamagedDataError as error:
        logger.warning("no preview: %s", error)
        return
    with replacing(preview) as temporary:
        sheet.save(temporary, "PNG")


def summarise_split(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The figures of a split that people ask for first."""
    return {
        "manifest": str(folder / MANIFEST_FILE),
        "num_samples": manifest.num_samples,
        "num_shards": len(manifest.shards),
        "num_skipped": len(manifest.skipped),
    }
