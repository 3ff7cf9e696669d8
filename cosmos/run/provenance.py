"""Provenance of a run: commit, diff, data, packages, hardware, command.

Also frozen copies of the package, from which jobs run, and digests of files and of computing code.
"""

import ast
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import exists, is_dir, is_hidden
from cosmos.config.printable_text import encodable_text
from cosmos.errors import InputError, TransientError
from cosmos.run.code_fingerprint import computation
from cosmos.run.code_state import PACKAGE, CodeState, installed_version
from cosmos.run.dataset_version import DatasetVersion
from cosmos.run.dvc_versions import recorded_versions
from cosmos.run.files import naming_disk_errors, write_json
from cosmos.run.provenance_record import PROVENANCE_REMEDY, RunSession, read_provenance
from cosmos.run.records import read_record
from cosmos.run.session_history import session_changes

logger = logging.getLogger(__name__)

PACKAGES = ("cosmos-pretraining", "torch", "torchvision", "open_clip_torch", "numpy", "pillow")
COMPUTING = ("data", "model", "evaluation")
"""Folders of the package whose code decides embeddings and figures."""

FROZEN = "frozen.json"
"""File in a frozen copy of the package that holds its CodeState."""

_first_copies: dict[Path, Path] = {}
"""First frozen copy that this process has made of a package."""


def record_session(
    path: Path,
    dataset: DatasetVersion,
    evaluated: Mapping[str, str],
    hardware: Mapping[str, Any],
    step: int = 0,
) -> None:
    """Append this session to the provenance file at `path`, and record the data that the run is trained on.

    `evaluated`: hashes of the datasets that are measured while training, by name; `step`: steps taken before.
    Warns where the commit of the code is unknown, and where code, packages or hardware are others than those
    of the session before. Raises DamagedDataError for a damaged file, InputError for a wrong COSMOS_JOB.
    """
    before = read_sessions(path)
    data = {"train": dataset.sha256, **evaluated}
    session = {**describe_session(hardware), "data": data, "step": step}
    write_json(
        path,
        {
            "data": data,
            "dataset": dataset.as_record(),
            "dvc": recorded_versions(dataset.manifest),
            **add_session(path, session),
        },
    )
    if problem := code_state().problem:
        logger.warning("%s names no commit of the code: %s", path, problem)
    if before and (changes := session_changes(before[-1], read_sessions(path)[-1])):
        logger.warning(
            "the run goes on with other code, data or hardware than before: %s", ", ".join(changes)
        )


def read_sessions(path: Path) -> list[RunSession]:
    """Return the sessions in a file of provenance; [] where there is none. DamagedDataError if damaged."""
    return read_provenance(path).sessions if exists(path) else []


def add_session(path: Path, session: Mapping[str, Any]) -> dict[str, Any]:
    """Return sessions, their requeues and their diffs, each once, of a file as it is and of a new session."""
    recorded = read_record(path, dict[str, Any], "provenance", PROVENANCE_REMEDY) if exists(path) else {}
    sessions = [*recorded.get("sessions", []), session]
    diff, digest = code_state().diff, session["diff_sha256"]
    return {
        "requeues": count_requeues(sessions),
        "diffs": {**recorded.get("diffs", {}), **({digest: diff} if diff else {})},
        "sessions": sessions,
    }


def count_requeues(sessions: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of requeues of these sessions' jobs, also of those after which no session began."""
    jobs = [session["job"] for session in sessions if session.get("job")]
    last = {(job.get("cluster"), job.get("id")): job.get("requeues", 0) for job in jobs}
    return sum(last.values())


def describe_session(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """Return time, command, job, code, packages and hardware of this process; torch knows `hardware`."""
    diff = code_state().diff
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(map(encodable_text, sys.argv)),
        "job": current_job(),
        "commit": code_state().commit,
        "version": code_state().version,
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest() if diff else "",
        "problem": code_state().problem,
        "packages": {name: installed_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), **hardware},
    }


def current_job() -> dict[str, Any]:
    """Return the job that this process belongs to, from its launcher's COSMOS_JOB; {} without one.

    Raises InputError where the variable is no job.
    """
    text = os.environ.get("COSMOS_JOB", "")
    if not text:
        return {}
    with suppress(json.JSONDecodeError):
        value = json.loads(text)
        if isinstance(value, dict) and {"cluster", "id", "requeues"} <= value.keys():
            return value
    raise InputError(
        f"COSMOS_JOB: {text!r} is no job; launchers set it to a JSON object with cluster, id, requeues "
        "and nodes: unset it outside of a job"
    )


@cache
def code_state() -> CodeState:
    """Return the state of the code that this process runs: that of the checkout of a frozen copy."""
    return read_code_state()


def read_code_state() -> CodeState:
    """Return the state of the code on disk now."""
    frozen = PACKAGE / FROZEN
    if exists(frozen):
        return read_record(frozen, CodeState, "state of the code", "submit the job again")
    return CodeState.of_package()


def code_version() -> str:
    """Return the commit of this code, `-dirty` where code is in no commit; see `CodeState.version`."""
    return code_state().version


def freeze_code(folder: Path) -> Path:
    """Copy this package to `folder`/cosmos, whole or not at all, unless it is there; return `folder`.

    Jobs run from such a copy (PYTHONPATH=`folder`), so that a checkout may change while they wait. All copies
    that a process makes are of the first one, as far as that is there: a checkout may change under a sweep,
    too, whose calls would not fit other code. Raises TransientError where a file cannot be copied.
    """
    target = folder / PACKAGE.name
    if exists(target):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as aside:
        copy, first = Path(aside) / PACKAGE.name, _first_copies.get(PACKAGE, target)
        if is_dir(first):
            copy_package(first, copy)
        else:
            copy_package(PACKAGE, copy)
            write_json(copy / FROZEN, asdict(read_code_state()))
            _first_copies[PACKAGE] = target
        try:
            copy.rename(target)
        except OSError:
            if not exists(target):  # or another process was faster
                raise
    return folder


def copy_package(package: Path, copy: Path) -> None:
    """Copy a package without compiled and hidden files.

    Modes and times are not copied: an installed package may be only readable, and some file systems keep
    neither. Raises TransientError for the first file that cannot be copied.
    """
    for source in sorted(package.rglob("*")):
        if is_dir(source) or source.suffix == ".pyc" or is_hidden(source.name):
            continue
        target = copy / source.relative_to(package)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            message = f"{copy.parent.parent}: the code of the job cannot be copied there: {source}"
            raise TransientError(f"{message}: {error.strerror}") from None


@cache
def source_digest(parts: tuple[str, ...] = COMPUTING) -> str:
    """Return a digest of what the code in these folders of the package computes, and of PACKAGES."""
    paths = (path for part in parts for path in (PACKAGE / part).rglob("*.py"))
    files = sorted(path for path in paths if not is_hidden(path.name))  # a Mac's `._a.py` is no Python
    whole = hashlib.sha256("".join(installed_version(name) for name in PACKAGES[1:]).encode())
    for path in files:
        whole.update(computation(ast.parse(path.read_bytes())).encode())
    return whole.hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal. Raises TransientError where the disk fails."""
    with naming_disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
