"""Stage prepare of the pipeline: a dataset is made beside DVC's folder, and moved there once whole."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmos.config.identity import identifying_values
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.preparation import find_prepared, find_source_difference
from cosmos.pipeline.identity import STAGE_CODE
from cosmos.run.dvc_versions import recorded_versions
from cosmos.run.files import replace_folder, write_text
from cosmos.stages.prepare import prepare, print_summary, summarise_dataset


def prepare_into(output: Path, params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Prepare a dataset beside `output`, move it there when it is whole, and return what `prepare` returns.

    An interrupted preparation is resumed if the same parameters and code began it from the same source.
    """
    state = preparation_state(params)
    final = machine.model_copy(update={"data_root": output})
    manifest = final.dataset(params.data.name, "train") / MANIFEST_FILE
    if is_prepared(output, state, manifest) and not find_source_difference(params.data, final):
        return prepare(params, final, quiet)
    work = output.with_name(f".{output.name}-{state[:8]}")
    prepare(params, machine.model_copy(update={"data_root": work}), quiet=True)
    replace_folder(work, output)
    write_text(state_file(output), state)
    for interrupted in output.parent.glob(f".{output.name}-*"):
        shutil.rmtree(interrupted, ignore_errors=True)
    summary = summarise_dataset(params, final, find_prepared(params.data, final))
    if not quiet:
        print_summary(params, final, summary)
    return summary


def preparation_state(params: Params) -> str:
    """Return a hash of the parameters and the code that decide what a dataset holds."""
    values = identifying_values(params.data.model_dump(mode="json"), "data")
    return sha256(f"{json.dumps(values)} {STAGE_CODE['prepare'].fingerprint()}".encode()).hexdigest()


def is_prepared(output: Path, state: str, manifest: Path) -> bool:
    """Return True if `output` is of this state but not recorded by DVC, as when its cache had no room."""
    made_from = state_file(output)
    is_same = made_from.exists() and made_from.read_text(encoding="utf-8") == state
    return is_same and manifest.exists() and not recorded_versions(manifest)


def state_file(output: Path) -> Path:
    """Return the path of the file, beside `output`, with the state that it was made from."""
    return output.with_name(f"{output.name}.state")
