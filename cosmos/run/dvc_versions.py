"""Versions in DVC: the hash under which DVC has a file as it is now, and files as they were at a revision."""

import hashlib
import json
import logging
import os.path
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cosmos.config.disk_reading import exists, is_dir, is_file
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.run.dvc_errors import dvc_error_class
from cosmos.run.files import DISK_ERRORS, naming_disk_errors, replacing

logger = logging.getLogger(__name__)

DVC_TMP = Path(".dvc/tmp")
"""Folder of DVC's own locks, in a workspace, which git ignores."""

PUSH_REMEDY = "`dvc push` it where it was made, and see `dvc remote list` here"


def find_dvc_root(path: Path) -> Path | None:
    """Return the root of the DVC repository that `path` lies in; None outside of one."""
    places = (path.absolute(), *path.absolute().parents)
    return next((place for place in places if is_dir(place / ".dvc")), None)


def recorded_versions(file: Path) -> dict[str, str]:
    """Return the hash, by path, of the DVC output that holds `file` as it is now.

    Returns {} where none does, and where that is unknown: `file` is compared with DVC's own listing of the
    output. Takes no lock of DVC's, and hashes `file` alone.
    """
    try:
        place = file.parent.resolve() / file.name  # the file itself may be a link into DVC's cache
        root = find_dvc_root(place)
        return next(_holding(root, place), {}) if root else {}
    except Exception as error:  # whatever state DVC is in, it is no reason not to train
        logger.debug("%s: its version is unknown", file, exc_info=error)
        return {}


def _holding(root: Path, file: Path) -> Iterator[dict[str, str]]:
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    for out, version in _outputs(root, file):
        inside = file.relative_to(out).as_posix()
        if md5 == (_listing(root, version).get(inside) if version.endswith(".dir") else version):
            yield {out.relative_to(root).as_posix(): version}


def _outputs(root: Path, file: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and hash of each output on record that `file` is, or lies in."""
    around = [place for place in (file, *file.parents) if place.is_relative_to(root)]
    for record in (*(place / "dvc.lock" for place in around), *(Path(f"{place}.dvc") for place in around)):
        if is_file(record):
            for path, out in _outs(record):
                if file.is_relative_to(path) and "md5" in out:
                    yield path, out["md5"]


def _outs(record: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the outputs of a dvc.lock, or of the file that `dvc add` writes, with their paths."""
    recorded = yaml.safe_load(record.read_text(encoding="utf-8"))
    definition = record.with_name("dvc.yaml")
    is_lock = "stages" in recorded and is_file(definition)
    defined = yaml.safe_load(definition.read_text(encoding="utf-8"))["stages"] if is_lock else {}
    for name, stage in recorded.get("stages", {"": recorded}).items():
        folder = defined.get(name.partition("@")[0], {}).get("wdir", "")  # of which dvc.lock has no record
        for out in stage.get("outs", []):
            yield Path(os.path.normpath(record.parent / folder / out["path"])), out


def _listing(root: Path, version: str) -> dict[str, str]:
    """Return the hashes by path of a directory's files from DVC's cache; {} where the cache has none."""
    path = _cached_file(root, version)
    if not exists(path):
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))}


def _cached_file(root: Path, version: str) -> Path:
    """Return the path of what has a hash in DVC's cache."""
    cache = root / ".dvc" / (_config(root)["cache"].get("dir") or "cache")
    return cache / "files" / "md5" / version[:2] / version[2:]


def _config(root: Path) -> Any:
    from dvc.config import Config

    return Config(str(root / ".dvc"))


def _places(root: Path) -> dict[str, Any]:
    """Return cache and remotes as they are configured now: those of an old revision may have moved.

    DVC would also take their relative paths for paths below the root of the file system.
    """
    config = _config(root)
    return {section: dict(config[section]) for section in ("core", "cache", "remote")}


def fetch_version(revision: str, path: str, folder: Path) -> Path:
    """Return a file as it was at a revision, from DVC's cache or a remote, kept in `folder` under its hash.

    One that is damaged there is fetched again. `revision` is one of git, `path` starts from the root of the
    repository that is worked in.
    Raises InputError for an unknown revision or path, and a file that no place has; TransientError where a
    remote does not answer; DamagedDataError where it has other bytes than were recorded.
    """
    name = f"dvc:{revision}:{path}"
    with _naming_storage_errors(name):
        files = _files_at(name, revision)
        status = _status_at(name, revision, path, files)
    version = status.get("md5") or hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    kept = folder / f"{version}{PurePosixPath(path).suffix}"
    if not exists(kept) or _md5_of_file(kept) != version:
        with replacing(kept) as temporary:
            with _naming_storage_errors(name):
                files.get_file(f"/{path}", str(temporary))
            if "md5" in status and _md5_of_file(temporary) != version:
                raise DamagedDataError(f"{name}: {_describe_damage(version)}")
    return kept


def _describe_damage(version: str) -> str:
    """Return the problem of a file whose copy in DVC's cache, or else in a remote, has another hash."""
    root = find_dvc_root(Path.cwd())
    cached = _cached_file(root, version) if root else None
    if cached is None or not exists(cached):
        return f"the remote has other bytes than those of md5 {version}; push it again from where it was made"
    return f"{cached}: has other bytes than when DVC recorded it; remove it, and `dvc fetch` it from a remote"


def _md5_of_file(path: Path) -> str:
    with naming_disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _files_at(name: str, revision: str) -> Any:
    """Return the files of a revision, as DVC's file system, which looks up the revision later."""
    root = find_dvc_root(Path.cwd())
    if root is None:
        raise InputError(f"{name}: this is no DVC repository; run from the root of the project")
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(root), rev=revision, config=_places(root))


def _status_at(name: str, revision: str, path: str, files: Any) -> dict[str, Any]:
    """Return the status of the file at `path` of a revision. Raises InputError where it is none."""
    from dvc.scm import RevError

    listed = f"`dvc list -R . --rev {shlex.quote(revision)}` lists them"
    try:
        status: dict[str, Any] = files.info(f"/{path}")
    except RevError:
        raise InputError(f"{name}: no revision {revision}; `git log --oneline` lists them") from None
    except FileNotFoundError:
        raise InputError(f"{name}: not a file of that revision; {listed}") from None
    if status["type"] == "directory":
        raise InputError(f"{name}: a folder; name a file in it: {listed}")
    if "md5" not in status and status.get("dvc_info"):
        raise InputError(
            f"{name}: its stage had not run at that revision, or dvc.lock was not committed with it"
        )
    return status


@contextmanager
def _naming_storage_errors(name: str) -> Iterator[None]:
    """Raise an error of DVC's, or of the storage of a remote, as InputError or TransientError with `name`."""
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        yield
    except CosmosError:
        raise
    except Exception as error:
        # a DataIndexDirError hides the reason for which a folder's listing could not be read
        cause = error.__cause__ or error if isinstance(error, DataIndexDirError) else error
        if isinstance(cause, OSError) and cause.errno in DISK_ERRORS:
            raise
        if isinstance(error, DvcException):
            deciding, remedy = dvc_error_class(error, InputError), "mend that or name another revision"
            problem = f"cannot be looked up: {error}"
        else:  # each kind of storage has its own
            deciding, remedy = dvc_error_class(error, TransientError), PUSH_REMEDY
            problem = f"neither in the cache nor to be had from a remote ({cause})"
        raise deciding(f"{name}: {problem}; {remedy}") from None


def database_root() -> str:
    """Return the folder below which DVC keeps its databases, which its errors do not name."""
    from dvc.dirs import site_cache_dir  # late: it takes a tenth of a second

    return str(site_cache_dir())
