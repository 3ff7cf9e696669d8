"""Cancellation of a sweep: the jobs of all its trials end, whatever files of some of them are damaged."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from cosmos.config.printable_text import print_text
from cosmos.errors import CosmosError, TransientError, convert_os_error
from cosmos.launch.slurm import SlurmSilentError
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.trial_jobs import end_run_job

logger = logging.getLogger(__name__)


def cancel_sweep(folder: SweepDir, quiet: bool) -> dict[str, Any]:
    """End the jobs of a sweep's trials; return the sweep's id, the trials and the jobs that ended.

    What is saved stays, and a controller that runs stops soon. Damaged files and a full disk keep no job of
    another trial from its end; their errors are raised afterwards. SlurmSilentError where Slurm does not
    answer.
    """
    failures = list[CosmosError]()
    attempt(lambda: Lease.take(folder.own).token, failures)
    jobs = {run.path.name: attempt(partial(end_trial, run), failures) for run in folder.trial_runs}
    ended = {name: job for name, job in jobs.items() if job}
    if not quiet:
        outcome = f"jobs cancelled: {', '.join(ended.values())}" if ended else "no trial's job was alive"
        print_text(f"{folder.path.name}: {outcome}; the same sweep command goes on from what is saved")
    if failures:
        raise combine_errors(failures)
    return {"sweep": folder.path.name, "trials": list(ended), "jobs": list(ended.values())}


def attempt(call: Callable[[], str], failures: list[CosmosError]) -> str:
    """Return the result of a call; "" where it fails, with its error among `failures`.

    Raises SlurmSilentError, which all other calls would meet.
    """
    try:
        return call()
    except SlurmSilentError:
        raise
    except CosmosError as error:
        failures.append(error)
    except OSError as error:
        failures.append(convert_os_error(error, str(error)))
    return ""


def end_trial(run: RunDir) -> str:
    """End the job of a trial, unless its record says that the job has ended; return its id, or "".

    Whoever recorded a trial as pruned may have been killed before its job was ended.
    """
    try:
        if TrialRecord.of(run).state in ("finished", "failed"):
            return ""
    except CosmosError as error:
        logger.warning("%s", error)
    return end_run_job(run)


def combine_errors(errors: list[CosmosError]) -> CosmosError:
    """Return an error with the messages of several, that may succeed later where one of them may."""
    first = next((error for error in errors if isinstance(error, TransientError)), errors[0])
    return type(first)("\n".join(map(str, errors)))
