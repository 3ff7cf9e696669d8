"""Classes of DVC's errors, and of those of the storages behind it, by their types."""

import sqlite3
from collections.abc import Iterator

from cosmos.errors import CosmosError, InputError, Interrupted, TransientError, error_class


def dvc_error_class(
    error: BaseException, otherwise: type[CosmosError]
) -> type[CosmosError] | type[Interrupted]:
    """Return the class that decides what follows from an error of DVC's or of a storage's.

    It is TransientError for a lock, a disk or a network that failed for now, InputError for what a user
    mends, and `otherwise` where neither the error nor what caused it says so.
    """
    from dvc.exceptions import ETagMismatchError, FileTransferError, HTTPError
    from dvc.lock import LockError
    from dvc_objects.fs import errors

    transient = (LockError, FileTransferError, HTTPError, ETagMismatchError, sqlite3.OperationalError)
    mended_by_user = (errors.AuthError, errors.ConfigError, errors.RemoteMissingDepsError, ImportError)
    for cause in causes(error):
        if isinstance(cause, transient):
            return TransientError
        if isinstance(cause, mended_by_user):
            return InputError
        if deciding := error_class(cause):
            return deciding
    return otherwise


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, the one that it was raised from, and so on."""
    while error:
        yield error
        error = error.__cause__
