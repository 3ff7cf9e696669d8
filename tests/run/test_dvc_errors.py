"""Classes of errors of DVC and of storages, whatever their messages say."""

import errno

import pytest
from dvc.config import NoRemoteError
from dvc.exceptions import DownloadError, DvcException, ReproductionError
from dvc.lock import LockError
from dvc_objects.fs.errors import AuthError

from cosmos.errors import CosmosError, InputError, NotPermittedError, TransientError
from cosmos.run.dvc_errors import dvc_error_class


def failed_repro(reason: Exception) -> Exception:
    """The error of `dvc repro` that a reason caused."""
    error: Exception = ReproductionError("failed to reproduce 'pretrain': exited with 74")
    error.__cause__ = reason
    return error


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), TransientError),
        (ConnectionResetError(), TransientError),
        (TimeoutError(), TransientError),
        (LockError("busy"), TransientError),
        (DownloadError(3), TransientError),
        (PermissionError(errno.EACCES, "Permission denied"), NotPermittedError),
        (AuthError("the key is wrong"), InputError),
        (ImportError("dvc_s3"), InputError),
        (NoRemoteError("no remote"), CosmosError),
        (DvcException("the network is down, exited with 74"), CosmosError),
    ],
)
def test_what_failed_for_now_is_transient_and_what_a_user_mends_is_not(
    reason: Exception, expected: type[CosmosError]
) -> None:
    assert dvc_error_class(reason, CosmosError) is expected
    assert dvc_error_class(failed_repro(reason), CosmosError) is expected


def test_an_error_that_was_met_on_the_way_does_not_decide() -> None:
    error = RuntimeError("the remote hung up")
    error.__context__ = FileNotFoundError("not in the cache")
    assert dvc_error_class(error, TransientError) is TransientError
