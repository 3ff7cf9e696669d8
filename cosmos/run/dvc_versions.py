"""Versions of data and checkpoints: what DVC says of a file, and a file as it was at a revision."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cosmos.errors import InputError
from cosmos.run.files import replacing

logger = logging.getLogger(__name__)


def find_dvc_root(path: Path) -> Path | None:
    """The root of the DVC repository that `path` lies in; None outside of one."""
    places = (path.absolute(), *path.absolute().parents)
    return next((place for place in places if (place / ".dvc").is_dir()), None)


def recorded_versions(file: Path) -> dict[str, str]:
    """What DVC has on record that holds `file` as it is now: the output's path and its hash.

    {} where nothing does, and where that cannot be said: what is claimed was compared with DVC's own listing
    of the output. Takes no lock of DVC's, and hashes `file` alone.
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
    """Outputs on record that `file` is, or lies in: their paths and hashes."""
    around = [place for place in (file, *file.parents) if place.is_relative_to(root)]
    for record in (*(place / "dvc.lock" for place in around), *(Path(f"{place}.dvc") for place in around)):
        if record.is_file():
            for out in _outs(yaml.safe_load(record.read_text(encoding="utf-8"))):
                path = record.parent / out["path"]
                if file.is_relative_to(path) and "md5" in out:
                    yield path, out["md5"]


def _outs(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Outputs of a lock file, or of the file that `dvc add` writes."""
    stages = record["stages"].values() if "stages" in record else [record]
    return [out for stage in stages for out in stage.get("outs", [])]


def _listing(root: Path, version: str) -> dict[str, str]:
    """Hashes by path of the files in a directory, as DVC's cache has them; {} where it has not."""
    configured = _config(root)["cache"].get("dir")
    cache = root / ".dvc" / (configured or "cache")
    path = cache / "files" / "md5" / version[:2] / version[2:]
    if not path.exists():
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))}


def _config(root: Path) -> Any:
    from dvc.config import Config

    return Config(str(root / ".dvc"))


def _places(root: Path) -> dict[str, Any]:
    """Cache and remotes as they are configured now: those of an old revision may have moved.

    DVC would also take their relative paths for paths below the root of the file system.
    """
    config = _config(root)
    return {section: dict(config[section]) for section in ("core", "cache", "remote")}


def fetch_version(revision: str, path: str, folder: Path) -> Path:
    """Return a file as it was at a revision, from DVC's cache or a remote, kept in `folder` under its hash.

    `revision` is one of git, `path` starts from the root of the repository that is worked in. Raises
    InputError for an unknown revision or path, and for a file that no reachable place has.
    """
    name = f"dvc:{revision}:{path}"
    files, known = _found(name, revision, path)
    version = known.get("md5") or hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    kept = folder / f"{version}{PurePosixPath(path).suffix}"
    if "md5" in known and kept.exists():
        return kept
    try:
        with replacing(kept) as temporary:
            files.get_file(f"/{path}", str(temporary))
    except Exception as error:  # each kind of storage has its own
        raise _nowhere(name, error) from None
    return kept


def _found(name: str, rev: str, path: str) -> tuple[Any, dict[str, Any]]:
    """The files of a revision as DVC's file system, and what it knows of the file at `path`."""
    root = find_dvc_root(Path.cwd())
    if root is None:
        raise InputError(f"{name}: this is no DVC repository; run from the root of the project")
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError
    from dvc_data.index import DataIndexDirError

    listed = f"`dvc list -R . --rev {rev}` lists them"
    try:
        files = DVCFileSystem(str(root), rev=rev, config=_places(root))
        known = files.info(f"/{path}")
    except RevError:
        raise InputError(f"{name}: no revision {rev}; `git log --oneline` lists them") from None
    except FileNotFoundError:
        raise InputError(f"{name}: not a file of that revision; {listed}") from None
    except DataIndexDirError as error:  # the listing of its folder is nowhere
        raise _nowhere(name, error.__cause__ or error) from None
    except ImportError as error:  # storage of this kind needs another package
        raise _nowhere(name, error) from None
    except DvcException as error:
        raise InputError(
            f"{name}: cannot be looked up: {error}; mend that or name another revision"
        ) from None
    if known["type"] == "directory":
        raise InputError(f"{name}: a folder; name a file in it: {listed}")
    if "md5" not in known and known.get("dvc_info"):
        raise InputError(
            f"{name}: its stage had not run at that revision, or dvc.lock was not committed with it"
        )
    return files, known


def _nowhere(name: str, error: BaseException) -> ValueError:
    return ValueError(
        f"{name}: neither in the cache nor to be had from a remote ({error}); `dvc push` it where it was "
        "made, and see `dvc remote list` here"
    )
