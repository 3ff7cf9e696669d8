"""Retries after an error of the class TransientError, of a disk or a network, and after no other."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from cosmos.errors import TransientError, error_class, summarize_error

Result = TypeVar("Result")

RETRIES = 2
SECONDS_BETWEEN_TRIES = [30.0, 120.0]


def is_transient_failure(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return True when a task failed by a transient error."""
    return is_transient(state.result(raise_on_failure=False))


def is_transient(error: BaseException) -> bool:
    """Return True for an error after which a second try may succeed with nothing mended.

    An error of the operating system that nobody turned into one of ours may be one, too, and a Prefect server
    that cannot be reached is.
    """
    if isinstance(error, httpx.TransportError):
        return True
    return issubclass(error_class(error) or Exception, TransientError)


RETRYING: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": SECONDS_BETWEEN_TRIES,
    "retry_condition_fn": is_transient_failure,
}
"""Options of tasks that read from disks and networks which may be away for a while."""


def call_with_retries(
    call: Callable[[], Result],
    warn: Callable[[str], None],
    problem_of: Callable[[Result], str] = lambda result: "",
) -> Result:
    """Return the result of `call`, which is tried again after a transient error.

    It is tried again, too, while `problem_of(result)` describes a problem that may pass by itself. The last
    try's result is returned, or its error raised. Prefect has no condition on the retries of a flow: they
    would try wrong parameters again.
    """
    for seconds in SECONDS_BETWEEN_TRIES:
        try:
            result = call()
            problem = problem_of(result)
        except Exception as error:
            if not is_transient(error):
                raise
            problem = summarize_error(error)
        if not problem:
            return result
        warn(f"{problem}; trying again in {seconds:g} s")
        time.sleep(seconds)
    return call()
