"""Classes of errors, and the names under which jobs leave them."""

import errno

import pytest

from cosmos.errors import (
    ERROR_KINDS,
    CosmosError,
    DivergedError,
    InputError,
    Interrupted,
    TransientError,
    class_of_kind,
    error_kind,
)
from cosmos.launch.slurm import SlurmSilentError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DivergedError("loss is nan"), DivergedError),
        (SlurmSilentError("job 12"), TransientError),  # a subclass is known by the class of errors.py
        (FileNotFoundError(errno.ENOENT, "no such file"), InputError),
        (OSError(errno.ENOSPC, "no space left"), TransientError),
        (ConnectionResetError(), TransientError),
    ],
)
def test_an_error_is_named_and_read_back_by_the_class_that_decides(
    error: Exception, kind: type[CosmosError]
) -> None:
    assert class_of_kind(error_kind(error)) is kind


@pytest.mark.parametrize("error", [KeyError("caption"), ValueError("library"), Interrupted("asked to stop")])
def test_an_error_of_no_class_has_no_name(error: BaseException) -> None:
    assert error_kind(error) == ""
    assert class_of_kind("") is CosmosError


def test_every_class_has_a_name_of_its_own() -> None:
    classes = {kind for kind in CosmosError.__subclasses__() if kind.__module__ == CosmosError.__module__}
    assert {CosmosError, *classes} <= set(ERROR_KINDS.values())
