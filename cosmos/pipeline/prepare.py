"""Stage prepare of the pipeline: a dataset is made beside DVC's folder, and moved there once whole."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists, find_paths, is_file
from cosmos.config.identity import identifying_values
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.folders import walk_files
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.preparation import find_prepared, find_source_difference
from cosmos.errors import InputError
from cosmos.pipeline.directory import PIPELINES, list_pipelines
from cosmos.pipeline.identity import STAGE_CODE
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.dvc_versions import recorded_versions
from cosmos.run.files import (
    link_or_copy,
    replace_folder,
    replacing_folder,
    require_own_folder,
    write_text,
)
from cosmos.run.provenance import file_sha256
from cosmos.run.sole_writer import sole_writer
from cosmos.stages.prepare import prepare, print_summary, summarise_dataset


def prepare_into(output: Path, params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Prepare a dataset beside `output`, move it there when it is whole, and return what `prepare` returns.

    An interrupted preparation is resumed if the same parameters and code began it from the same source. What
    these prepared for another pipeline is linked; while they are at it there, it is waited for. Raises
    InputError for an `output` with other files than datasets.
    """
    datasets = {
        params.data.name,
        *(path.parents[1].name for path in find_paths(output, f"*/*/{MANIFEST_FILE}")),
    }
    require_own_folder(output, datasets.__contains__)
    state = preparation_state(params)
    final = machine.model_copy(update={"data_root": output})
    manifest = final.dataset(params.data.name, "train") / MANIFEST_FILE
    with preparation_lock(state):
        if is_prepared(output, state, manifest) and not find_source_difference(params.data, final):
            return prepare(params, final, quiet)
        replace_data(output, state, params, machine)
    summary = summarise_dataset(params, final, find_prepared(params.data, final))
    if not quiet:
        print_summary(params, final, summary)
    return summary


def replace_data(output: Path, state: str, params: Params, machine: Machine) -> None:
    """Prepare or link a dataset beside `output`, and move it there in place of what was there."""
    work = output.with_name(f".{output.name}-{state[:8]}")
    beside = machine.model_copy(update={"data_root": work})
    link_prepared(output, state, params, beside)
    prepare(params, beside, quiet=True)
    state_file(output).unlink(missing_ok=True)
    # Exchanged, the old data would be taken for `work` after a kill.
    shutil.rmtree(output, ignore_errors=True)
    for interrupted in set(output.parent.glob(f".{output.name}-*")) - {work}:
        shutil.rmtree(interrupted, ignore_errors=True)
    remove_abandoned(output.parent)
    # Last, since what is in place with its state is not looked at again.
    write_text(state_file(output), state_of(work, state))
    replace_folder(work, output)


@contextmanager
def preparation_lock(state: str) -> Iterator[None]:
    """Hold the lock on preparing data of a state, of which no two pipelines make their own at once."""
    with sole_writer(PIPELINES / ".preparing" / state[:8], "the same data is being prepared for a pipeline"):
        yield


def preparation_state(params: Params) -> str:
    """Return a hash of the parameters and the code that decide what a dataset holds."""
    values = identifying_values(params.data.model_dump(mode="json"), "data")
    return sha256(f"{json.dumps(values)} {STAGE_CODE['prepare'].fingerprint()}".encode()).hexdigest()


def is_prepared(output: Path, state: str, manifest: Path) -> bool:
    """Return True if `output` is of this state but not recorded by DVC, as when its cache had no room."""
    return holds_state(output, state) and exists(manifest) and not recorded_versions(manifest)


def link_prepared(output: Path, state: str, params: Params, machine: Machine) -> None:
    """Link the data of this state that another pipeline has, if one has, into the machine's data root.

    Where `output` has such data, it is to be prepared anew, as by `dvc repro --force`. The links are given up
    where the other pipeline replaces its data meanwhile. Raises InputError or TransientError where a folder
    of that cannot be listed: its files would be left out.
    """
    work = machine.data_root
    folders = (pipeline.data for pipeline in list_pipelines())
    source = next((data for data in folders if holds_state(data, state)), None)
    if source is None or exists(work) or holds_state(output, state):
        return
    if find_source_difference(params.data, machine.model_copy(update={"data_root": source})):
        return
    try:
        with suppress(FileNotFoundError), replacing_folder(work) as folder:
            link_files(source, folder)
            if not holds_state(source, state):
                raise FileNotFoundError(source)
    except InputError:
        if holds_state(source, state):
            raise


def link_files(source: Path, folder: Path) -> None:
    """Link the files below `source` into a folder. Raises as `walk_files`, and OSError for dead links."""
    for file in walk_files(source):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(file.resolve(strict=True), target)


def holds_state(data: Path, state: str) -> bool:
    """Return True when the datasets in a folder are those that were prepared from a state."""
    file = state_file(data)
    return is_file(file) and file.read_bytes() == state_of(data, state).encode()


def state_of(data: Path, state: str) -> str:
    """Return the state with a hash of the manifests in `data`, which DVC may replace by other versions."""
    manifests = find_paths(data, f"*/*/{MANIFEST_FILE}")
    contents = "".join(f"{path.relative_to(data)} {file_sha256(path)}\n" for path in manifests)
    return f"{state} {sha256(contents.encode()).hexdigest()}"


def state_file(output: Path) -> Path:
    """Return the path of the file, beside `output`, with the state that it was made from."""
    return output.with_name(f"{output.name}.state")
