"""Calls that are made again after a transient error, and after no other."""

import errno
import time

import httpx
import pytest

from cosmos.errors import CosmosError, InputError, TransientError, summarize_error
from flows.retries import RETRIES, SECONDS_BETWEEN_TRIES, call_with_retries


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited between tries."""
    seconds = list[float]()
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


class Failing:
    """A call that raises an error so many times, and then returns."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.num_calls = error, times, 0

    def __call__(self) -> str:
        self.num_calls += 1
        if self.num_calls <= self.times:
            raise self.error
        return "done"


@pytest.mark.parametrize(
    "error",
    [
        TransientError("the scheduler does not answer"),
        OSError(errno.ENOSPC, "No space left on device"),
        httpx.ConnectError("the server of Prefect is away"),
    ],
)
def test_a_transient_error_is_waited_out_with_a_warning(waits: list[float], error: Exception) -> None:
    warnings = list[str]()
    failing = Failing(error, RETRIES)
    assert call_with_retries(failing, warnings.append) == "done"
    assert waits == SECONDS_BETWEEN_TRIES
    assert warnings[0] == f"{summarize_error(error)}; trying again in 30 s"


def test_one_that_stays_is_raised_after_the_last_try() -> None:
    failing = Failing(TransientError("the disk is full"), 99)
    with pytest.raises(TransientError, match="the disk is full"):
        call_with_retries(failing, lambda warning: None)
    assert failing.num_calls == 1 + RETRIES


@pytest.mark.parametrize(
    "error",
    [InputError("wrong"), CosmosError("failed"), RuntimeError("a bug"), FileNotFoundError("a.yaml")],
)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    failing = Failing(error, 1)
    with pytest.raises(type(error)):
        call_with_retries(failing, lambda warning: None)
    assert failing.num_calls == 1


def test_a_result_that_may_become_better_is_asked_for_again_and_the_last_one_kept(waits: list[float]) -> None:
    results = [["a failed", "b failed"], ["b failed"], ["b failed"]]
    left = iter(results)
    warnings = list[str]()
    assert call_with_retries(lambda: next(left), warnings.append, "\n".join) == ["b failed"]
    assert warnings == ["a failed\nb failed; trying again in 30 s", "b failed; trying again in 120 s"]
    assert waits == SECONDS_BETWEEN_TRIES
