"""Evaluations beside training: jobs of their own measure checkpoints, one at a time, while training goes on.

A checkpoint that waits is a file in the run's folder `evaluations`: a second name of the saved one, which
outlives the removal of old checkpoints. While a job is on record there, it measures the oldest. Only the
training writes into the run's metrics: it takes the figures of a job that has ended, and removes both files.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread

from cosmos.config.disk_reading import exists
from cosmos.distributed.whereabouts import moved
from cosmos.errors import CosmosError, TransientError, summarize_error
from cosmos.launch.once import submit_once
from cosmos.launch.outcome import CallFiles
from cosmos.launch.submission import JobSpec, Submission, read_submission
from cosmos.launch.watch import SubmissionWatcher
from cosmos.run.directory import step_of_checkpoint
from cosmos.run.files import link_or_copy, remove_folder, replacing
from cosmos.run.lease import Lease

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Seconds between looks at the job, and at what waits; the scheduler is asked less often."""

LAST_SECONDS = 300.0
"""Seconds that a training which has ended waits for evaluations beside it."""

LATER_WAITS = "a later checkpoint waits, since evaluations take longer than training from one to the next"
"""Reason for which a checkpoint is passed over while training goes on."""

JobOfCheckpoint = Callable[[Path], JobSpec]
"""Function that returns the job which measures a checkpoint, and returns `StepFigures`."""


@dataclass(frozen=True)
class StepFigures:
    """Figures of the models of a checkpoint, as the job that measured it returns them."""

    step: int
    figures: dict[str, float | None]


class EvaluationQueue:
    """Queue of the checkpoints of a run that are measured beside its training, for the first rank."""

    def __init__(
        self, lease: Lease, job_of: JobOfCheckpoint, is_used: bool, evaluated: Collection[int]
    ) -> None:
        """Make the queue; `is_used` unless the training evaluates itself, `evaluated`: steps with figures."""
        self.lease, self.run, self.job_of, self.is_used = lease, lease.run, job_of, is_used
        self._evaluated, self._closing, self._lock = evaluated, Event(), Lock()
        self._measured: Path | None = None
        """the checkpoint whose job is submitted, runs or has ended"""
        self._watcher: SubmissionWatcher | None = None
        self._problem = ""
        """reason for which the job of the measured checkpoint was not submitted"""
        self._has_ended = False
        self._delayed: Path | None = None
        """the newest checkpoint whose job a scheduler or a disk kept from being submitted"""

    @contextmanager
    def following(self, step: int, is_stopping: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Submit jobs, from a thread, while the block trains on from `step` and is not asked to stop.

        A job on Slurm outlives the block, and the next session takes its figures. A process of this machine
        ends with a training that is stopped.
        """
        self._remove_stale(step)
        if not self.is_used:
            yield
            return
        Thread(target=self._work, args=[is_stopping], name="evaluations", daemon=True).start()
        try:
            yield
        except BaseException:
            self._end_local_job()
            raise
        finally:
            self._closing.set()

    def add(self, checkpoint: Path) -> None:
        """Have a saved checkpoint measured, in place of those that wait and are not being measured yet."""
        target = self.run.evaluations / checkpoint.name
        try:
            with self._lock:
                waiting = [path for path in self.run.unevaluated_checkpoints if path != self._measured]
                self._pass_over(waiting, LATER_WAITS)
            with replacing(target) as temporary:
                link_or_copy(checkpoint, temporary)
        except (CosmosError, OSError) as error:
            logger.warning("step %d is not evaluated: %s", step_of_checkpoint(target), error)

    def hand_over(self, log: Callable[[StepFigures], None]) -> None:
        """Call `log` with the figures of a job that has ended, if one has, and make room for the next one.

        The step of one that failed is passed over. For use while the lease is held.
        """
        if not self._has_ended:
            return
        try:
            figures = self._figures()
        except CosmosError as error:
            self._pass_over(filter(None, [self._measured]), str(error))
        else:
            log(figures)
        self._forget()

    def settle(self, take: Callable[[], None]) -> None:
        """Wait for the evaluations that are left, at most LAST_SECONDS, and pass over what takes longer.

        `take` hands figures over, by the lease.
        """
        deadline = time.monotonic() + LAST_SECONDS
        while (left := self.run.unevaluated_checkpoints) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 5)
            moved()
            take()
        if left:
            self._closing.set()
            self._end_job()
            self._pass_over(left, f"training has ended, and waits no longer than {LAST_SECONDS:g} s")

    def _work(self, is_stopping: Callable[[], bool]) -> None:
        """Submit the job of one checkpoint after the other, and note when it has ended."""
        while not self._closing.wait(POLL_SECONDS) and not is_stopping():
            try:
                self._advance()
            except TransientError as error:  # a scheduler that is silent, or a disk: it is tried again
                self._tell_delay(error)
            except Exception as error:  # whatever it is, training goes on
                logger.debug("an evaluation beside training failed", exc_info=error)
                self._problem, self._has_ended = summarize_error(error), True

    def _tell_delay(self, error: TransientError) -> None:
        """Log, once for each checkpoint, that its job is submitted later."""
        if self._measured and self._measured != self._delayed:
            self._delayed = self._measured
            logger.warning("step %d is evaluated later: %s", step_of_checkpoint(self._measured), error)

    def _advance(self) -> None:
        """Do what is due: begin with a checkpoint that waits, or note that its job has ended."""
        if self._has_ended:  # its figures are to be taken first
            return
        if self._watcher:
            self._has_ended = self._watcher.has_ended()
        elif checkpoint := self._choose():
            self.lease.check()
            submission, _ = submit_once(self.job_of(checkpoint))
            self._remove_folders(submission)
            self._watcher = SubmissionWatcher(submission)

    def _choose(self) -> Path | None:
        """Return the checkpoint to measure: that of the job on record, or else the newest; None without."""
        with self._lock:
            waiting = self.run.unevaluated_checkpoints
            if self._measured is None and waiting:
                *older, self._measured = waiting
                self._pass_over(older, LATER_WAITS)
            return self._measured

    def _figures(self) -> StepFigures:
        """Return the figures of the job that has ended. Raises CosmosError, in a line, where it has none."""
        if self._problem or not self._watcher:
            raise CosmosError(self._problem)
        (outcome,) = self._watcher.outcomes()
        if outcome.failure:
            raise CosmosError(outcome.failure.summary)
        figures = outcome.result_as(StepFigures)
        if self._measured is None or figures.step != step_of_checkpoint(self._measured):
            raise CosmosError(f"job {self._watcher.submission.job_id} has measured step {figures.step}")
        return figures

    def _forget(self) -> None:
        """Remove the measured checkpoint and the record of its job."""
        self.run.evaluation_job.unlink(missing_ok=True)
        if self._measured:
            self._measured.unlink(missing_ok=True)
        self._measured, self._watcher, self._problem, self._has_ended = None, None, "", False

    def _remove_folders(self, current: Submission) -> None:
        """Remove the folders of the jobs before that left figures; of jobs that failed, the logs stay.

        A job goes on for a moment after its figures are there: its script takes a folder without a value for
        one whose job is to start again, so that a folder has its value or is gone.
        """
        for folder in current.folder.parent.iterdir():
            with suppress(PermissionError):  # of another user, who began the run
                if folder != current.folder and CallFiles(folder, 0).has_value():
                    remove_folder(folder)

    def _pass_over(self, waiting: Iterable[Path], reason: str) -> None:
        """Remove checkpoints that wait, and say that they are not measured."""
        for path in waiting:
            path.unlink(missing_ok=True)
            logger.warning("step %d is not evaluated: %s", step_of_checkpoint(path), reason)

    def _remove_stale(self, step: int) -> None:
        """Remove the checkpoints that wait without need, and the job of the first: see `_is_stale`."""
        waiting = self.run.unevaluated_checkpoints
        stale = [path for path in waiting if self._is_stale(step_of_checkpoint(path), step)]
        if waiting[:1] == stale[:1]:
            self._end_job()
        elif exists(self.run.evaluation_job):
            self._measured = waiting[0]
        for path in stale:
            path.unlink(missing_ok=True)

    def _is_stale(self, waiting_step: int, step: int) -> bool:
        """Return True for a step that was measured, will be trained again, or is left to the training."""
        return waiting_step > step or waiting_step in self._evaluated or not self.is_used

    def _end_local_job(self) -> None:
        """End the job if it is a process of this machine; its checkpoint waits for the next session."""
        self._closing.set()
        with suppress(CosmosError, OSError):  # of another training that took over, none is ended
            self.lease.check()
            submission = read_submission(self.run.evaluation_job)
            if submission and submission.cluster == "local":
                self._end_job()

    def _end_job(self) -> None:
        """End the job on record, if there is one, and remove its record. Errors are logged."""
        try:
            submission = read_submission(self.run.evaluation_job)
            if submission and submission.job_id and not submission.is_finished():
                submission.cancel()
            self.run.evaluation_job.unlink(missing_ok=True)
        except (CosmosError, OSError) as error:
            logger.warning("the evaluation beside training may go on: %s", error)
