"""Shards in object storage: copied whole, some of the copies kept, errors of storages turned into ours."""

import errno
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    NotPermittedError,
    TransientError,
    convert_os_error,
    is_permanent,
)
from cosmos.run.abandoned_files import is_unchanged_for, remove_abandoned
from cosmos.run.files import holding_lock, make_temporary_file

logger = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0

MIN_LISTED = 32
"""Files of a folder from which on it is listed, in place of a request for each of them."""

SILENCE_SECONDS = 30.0
"""Time for which a storage may send nothing before it counts as away."""

CLIENT_ERRORS = range(300, 500)
"""HTTP statuses of a request that is wrong: of the client's errors, and of storage that lies elsewhere."""

BUSY_STATUSES = frozenset({408, 425, 429})
"""Statuses among CLIENT_ERRORS after which the same request may succeed later."""

FORBIDDEN_STATUSES = frozenset({401, 403})
"""Statuses of a request that these credentials may not make."""

STATUS_ATTRIBUTES = ("status", "status_code", "code")
"""Attributes by which clients' errors, or the responses that they hold, tell the HTTP status."""

BOTOCORE_NETWORK_ERRORS = (
    "HTTPClientError",
    "ConnectionError",
    "IncompleteReadError",
    "MetadataRetrievalError",
    "CredentialRetrievalError",
    "ChecksumError",
    "FlexibleChecksumError",
)
"""Classes of botocore's own errors after which the same request may succeed; others are of its settings."""

CREDENTIALS_REMEDY = (
    "give the keys of the storage, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or key and"
    " secret in the machine's storage_options ({anon: true} for public data)"
)
"""Advice where S3's client has no or wrong settings."""

ACCESS_REMEDY = (
    "correct the URL or the machine's storage_options, or renew what gives access to it; then give the same"
    " command again"
)
"""Advice where a storage does not let this user read a file."""


def is_remote(path: str) -> bool:
    """Return True when `path` is a URL, such as s3://bucket/00000.tar."""
    return "://" in path


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def list_files(pattern: str, machine: Machine) -> list[str]:
    """Return the URLs that match `pattern`, sorted, without hidden files.

    Raises DamagedDataError for a bucket or folder that does not exist, InputError for a URL that is wrong,
    TransientError when the storage fails.
    """
    storage, path = _file_system(pattern, machine)
    with _storage_errors(pattern, "cannot be listed"):
        names = [name for name in storage.glob(path) if not PurePosixPath(name).name.startswith(".")]
        return sorted(str(storage.unstrip_protocol(name)) for name in names)


def copied_size(url: str, machine: Machine) -> int | None:
    """Return the size of the local copy of `url`, in bytes; None where there is none."""
    with suppress(OSError):
        return _copy_path(url, machine).stat().st_size
    return None


def stored_size(url: str, machine: Machine) -> int | None:
    """Return the size of the file at `url`, in bytes; None where its storage does not tell.

    Raises DamagedDataError when there is no such file, InputError when the URL is wrong or access refused,
    TransientError when the storage or the network fails.
    """
    storage, path = _file_system(url, machine)
    with _storage_errors(url, "cannot be found"):
        size: int | None = storage.info(path)["size"]
    return size


def listed_sizes(urls: Iterable[str], machine: Machine) -> dict[str, int]:
    """Return the sizes of files at `urls`, in bytes, as far as listings of their folders tell them.

    A listing is a request for about a thousand files, so only folders with MIN_LISTED of the files are
    listed, and none of an HTTP server, whose listings tell no sizes. Raises TransientError when the storage
    fails.
    """
    folders: dict[str, list[str]] = {}
    for url in urls:
        folders.setdefault(url.rpartition("/")[0], []).append(url)
    sizes: dict[str, int] = {}
    for folder, files in folders.items():
        listing = _list_folder(folder, machine) if len(files) >= MIN_LISTED and not _is_http(folder) else {}
        sizes |= {url: listing[name] for url in files if (name := url.rpartition("/")[2]) in listing}
    return sizes


def _list_folder(url: str, machine: Machine) -> dict[str, int]:
    """Return the sizes of the files in a folder, by name; {} where the storage lists none, or not for us."""
    try:
        storage, path = _file_system(url, machine)
        storage.invalidate_cache(path)
        with _storage_errors(url, "cannot be listed"):
            files = storage.ls(path, detail=True)
    except (DamagedDataError, InputError):
        return {}
    storage.invalidate_cache(path)  # or `stored_size` would tell what was listed, for ever
    sizes = {PurePosixPath(file["name"]).name: file.get("size") for file in files}
    return {name: size for name, size in sizes.items() if size is not None}


def cached_copy(url: str, machine: Machine) -> Path:
    """Return a local copy of the shard at `url`, made when there is none, by one process of all that want it.

    Of all copies in `machine.cache_root`, the `machine.cached_shards` used last are kept. Raises as
    `temporary_copy`.
    """
    copy = _copy_path(url, machine)
    with _cache_errors(url, copy.parent):
        if not _is_there_to_use(copy):
            with _turn_to_copy(url, copy):
                if not _is_there_to_use(copy):
                    with temporary_copy(url, machine) as temporary:
                        temporary.rename(copy)
                    _evict(copy.parent, machine.cached_shards)
    return copy


def _is_there_to_use(copy: Path) -> bool:
    """Return True where a copy is there, of which this becomes the last use."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    except OSError:
        if not os.access(copy, os.R_OK):
            raise
        # another user's, or on a disk that is only read
    return True


@contextmanager
def _turn_to_copy(url: str, copy: Path) -> Iterator[None]:
    """Wait while another process makes a copy; inside, the others wait for this one, while it lives.

    Raises TransientError where the storage failed the process that was waited for: one after the other, all
    would wait for it. The lock's file has a byte for each such failure, and is removed with the next success.
    """
    lock = copy.with_suffix(".lock")
    failures = _size(lock)
    with holding_lock(lock):
        if _size(lock) > failures:
            raise TransientError(f"{url}: cannot be copied (another process that needs it just failed to)")
        try:
            yield
        except TransientError:
            with suppress(OSError), lock.open("ab") as file:
                file.write(b".")
            raise
        lock.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if exists(path) else 0


def forget_copy(url: str, machine: Machine) -> None:
    """Remove the local copy of `url`, so that the next use copies it again."""
    _copy_path(url, machine).unlink(missing_ok=True)


def forget_damaged_copy(url: str, size: int, digest: str, machine: Machine) -> None:
    """Remove the local copy of `url` where its size or SHA-256 is another, with a warning."""
    copy = _copy_path(url, machine)
    with suppress(FileNotFoundError), copy.open("rb") as file:
        is_whole = copy.stat().st_size == size and file_digest(file, "sha256").hexdigest() == digest
        if not is_whole:
            logger.warning("%s: a damaged copy of %s is removed; it is copied again when needed", copy, url)
            copy.unlink(missing_ok=True)


@contextmanager
def temporary_copy(url: str, machine: Machine) -> Iterator[Path]:
    """Yield a local copy of the shard at `url` for this call alone; remove it unless it was renamed.

    Raises DamagedDataError when there is no such shard, InputError when the URL is wrong or access refused,
    TransientError when the storage, the network or the local disk fails.
    """
    storage, path = _file_system(url, machine)
    copy = _copy_path(url, machine)
    with _cache_errors(url, copy.parent):
        copy.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(copy.parent)
        temporary = make_temporary_file(copy)
    try:
        with _storage_errors(url, "cannot be copied"):
            storage.get_file(path, str(temporary))
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _file_system(url: str, machine: Machine) -> tuple[Any, str]:
    """Return the fsspec file system of `url`, and the path on it."""
    try:
        file_system, path = fsspec.core.url_to_fs(url, **_storage_options(url, machine))
    except ImportError as error:
        raise InputError(
            f"{url}: {error}; for s3:// install this package with the extra `s3`, else the fsspec "
            "package of this storage"
        ) from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{url}: {error}; correct the URL or the machine's storage_options") from None
    except Exception as error:  # some storages connect at once
        raise _storage_error(url, "cannot be opened", error) from None
    return file_system, path


def _storage_options(url: str, machine: Machine) -> dict[str, Any]:
    """Return the machine's options of a storage, with limits on its silence, and none on a whole download.

    aiohttp gives up whatever takes five minutes; botocore and s3fs would both try again several times.
    """
    options = machine.storage_options.get_secret_value()
    if _is_http(url):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        return {"client_kwargs": {"timeout": timeout}, **options}
    if url.startswith("s3://"):
        limits = {"connect_timeout": SILENCE_SECONDS, "read_timeout": SILENCE_SECONDS}
        return {"config_kwargs": {**limits, "retries": {"max_attempts": 0}}, **options}
    return options


@contextmanager
def _storage_errors(url: str, problem: str) -> Iterator[None]:
    """Turn an error of a storage into one of ours, named after `url` and `problem`."""
    try:
        yield
    except Exception as error:  # every storage has errors of its own
        raise _storage_error(url, problem, error) from None


def _storage_error(url: str, problem: str, error: Exception) -> CosmosError:
    """Return an error of a storage as one of ours: transient, unless its class or HTTP status is permanent.

    Storages raise what their clients do: botocore's, aiohttp's and others' errors have no class in common.
    """
    error = _underlying(error)
    message = f"{url}: {problem} ({type(error).__name__}: {error})"
    status = http_status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return DamagedDataError(message)
    if _is_setting_of_botocore(error):
        return InputError(f"{message}; {CREDENTIALS_REMEDY}")
    if status in FORBIDDEN_STATUSES or isinstance(error, PermissionError):
        return NotPermittedError(f"{message}; {ACCESS_REMEDY}")
    is_refused = is_refusal(status)
    is_wrong = isinstance(error, ValueError | TypeError | NotImplementedError | ImportError)
    if is_refused or is_wrong or (isinstance(error, OSError) and is_permanent(error)):
        return InputError(f"{message}; correct the URL or the machine's storage_options")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"{message}; free space for copies below the machine's cache_root")
    return TransientError(message)


def _underlying(error: Exception) -> Exception:
    """Return the failure that a storage made into FileNotFoundError, as fsspec's HTTP does with any."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        return error if isinstance(cause, LookupError) else cause
    return error


def is_refusal(status: int | None) -> bool:
    """Return True for an HTTP status that the same request would meet again."""
    return status in CLIENT_ERRORS and status not in BUSY_STATUSES


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a storage, or the one that it was made from, tells."""
    for cause in filter(None, (error, error.__cause__)):
        response = getattr(cause, "response", None)
        metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}  # of botocore
        of_others = (getattr(part, key, None) for part in (cause, response) for key in STATUS_ATTRIBUTES)
        for status in (metadata.get("HTTPStatusCode"), *of_others):
            if isinstance(status, int):
                return status
    return None


def _is_setting_of_botocore(error: Exception) -> bool:
    """Return True for an error of S3's client itself, such as missing credentials, and not of its network."""
    botocore = sys.modules.get("botocore.exceptions")
    if botocore is None or not isinstance(error, botocore.BotoCoreError):
        return False
    return not isinstance(error, tuple(getattr(botocore, name) for name in BOTOCORE_NETWORK_ERRORS))


@contextmanager
def _cache_errors(url: str, folder: Path) -> Iterator[None]:
    """Turn an error of the local disk into one of ours, which names `url` and `folder`."""
    try:
        yield
    except OSError as error:
        message = f"{url}: cannot be copied to {folder} ({error.strerror})"
        raise convert_os_error(error, message, InputError, "correct the machine's cache_root") from None


def _copy_path(url: str, machine: Machine) -> Path:
    return machine.cache_root / "shards" / f"{sha256(url.encode()).hexdigest()[:32]}.tar"


def _evict(folder: Path, keep: int) -> None:
    """Remove all but the `keep` copies used last, and what killed processes of older versions left."""
    copies = sorted(folder.glob("*.tar"), key=_last_use, reverse=True)
    begun = (*folder.glob("*.part"), *folder.glob("*.lock"))
    for path in (*copies[keep:], *filter(partial(is_unchanged_for, ABANDONED_SECONDS), begun)):
        with suppress(PermissionError):  # another user's
            path.unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0.0
