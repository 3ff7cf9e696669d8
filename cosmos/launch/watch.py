"""Wait for a submission: its log as it grows, its states as they change, and the outcome of each call."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cosmos.config.disk_reading import exists, open_regular
from cosmos.errors import CosmosError, OutOfMemoryError, StoppedError, TransientError, class_of_kind
from cosmos.launch.outcome import CallFailure, CallFiles, CallOutcome, RankFailure, last_log_lines
from cosmos.launch.sbatch import UNSEEN_FOLDER
from cosmos.launch.slurm import FINAL_STATES, FailureCause, JobState, SlurmSilentError
from cosmos.launch.submission import Submission

ShowText = Callable[[str], None]
"""Function that takes text for a person, line ends included."""

FILE_POLL = 0.5
"""Seconds between two readings of a submission's folder."""

SHORTEST_POLL, LONGEST_POLL = 2.0, 30.0
"""Seconds between questions to the scheduler, at first and in the long run."""

GRACE = 15.0
"""Seconds that a shared file system may take to show what a job wrote last."""

SHOWN_LINES = 20
"""Number of lines, written before a command attached, that it shows of a log."""

SEARCHED_LINES = 40
"""Number of lines at a log's end that are searched for the cause of a failure."""

KILLED = FailureCause(
    "had a process killed, mostly a lack of memory; raise slurm.memory_gb or lower COSMOS_WORKERS"
)
"""Cause of the failure of a job of which a process was killed, where the log does not name the reason."""

STOPPED = FailureCause("was asked to stop; all is saved, and the same command continues", StoppedError)
"""Cause of the end of a job without a scheduler that was asked to stop."""

STEP_CANCELLED = FailureCause("had its step cancelled; the same command goes on from the last save")
"""Cause of the failure of a job whose ranks were killed through Slurm, by scancel JOB.STEP."""

UNOPENED_LOG_STATUS = "signal 53"
"""Exit status that Slurm gives to a job of which it could not open the log (0:53)."""

UNOPENED_LOG = FailureCause(
    "could not open its log on the first of its nodes: the folder is missing, full or read-only there; mount"
    " it, or keep away from the node by slurm.sbatch: [--exclude=NODE]",
    TransientError,
)
"""Cause of the failure of a job whose script could not begin."""

UNSEEN_FOLDER_CAUSE = FailureCause(
    r"cannot write its folder on \1, where it is missing or read-only; mount it, or keep away from the"
    r" node by slurm.sbatch: [--exclude=\1]",
    TransientError,
)
"""Cause of the failure of a job that one of its nodes cannot take part in."""

LOGGED_CAUSES = (
    (rf"(\S+): .*: {UNSEEN_FOLDER}$", UNSEEN_FOLDER_CAUSE),
    (r"slurmstepd\S*: error: .*(exceeded.* memory limit|oom_kill event)", FINAL_STATES["OUT_OF_MEMORY"]),
    (r"srun: error: \S+ tasks? \S+: Out Of Memory", FINAL_STATES["OUT_OF_MEMORY"]),
    (r"slurmstepd\S*: error: \*\*\* STEP \S+ ON \S+ CANCELLED AT \S+ \*\*\*$", STEP_CANCELLED),
    (r"srun: error: \S+ tasks? \S+: Killed", KILLED),
    (r"srun: error: \S+ tasks? \S+: Exited", FINAL_STATES["FAILED"]),
)
"""Patterns of lines of Slurm's programs in a failed job's log, with their causes; the first line decides."""


class SubmissionWatcher:
    """States of a submission's jobs, asked for again only once they may have changed."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.states: Sequence[JobState] = ()
        self.asked, self.poll, self.failures = 0.0, SHORTEST_POLL, 0
        self.silent, self.final_since = False, 0.0

    def update(self) -> None:
        """Ask the scheduler for the states of the jobs, unless that was done a moment ago.

        A new failure in the folder, or an answer that all is over, is a reason to ask again soon; otherwise
        questions become rarer with time.
        """
        waited, failures = time.monotonic() - self.asked, self.submission.num_failures()
        unsettled = failures != self.failures or self.all_final
        if waited < (SHORTEST_POLL if unsettled else self.poll):
            return
        self.asked, self.poll, self.failures = time.monotonic(), min(LONGEST_POLL, self.poll * 1.1), failures
        try:
            self.states = self.submission.states()
            self.silent = False
        except SlurmSilentError:
            self.states, self.silent = (), True

    @property
    def all_final(self) -> bool:
        """True when nothing runs any more, by the scheduler's last answer."""
        return bool(self.states) and all(state.is_final for state in self.states)

    def has_ended(self) -> bool:
        """Return True when all calls returned, or nothing runs and the folder shows why or had time to."""
        if self.submission.is_finished():
            return True
        self.update()
        if not self.all_final:
            self.final_since = 0.0
            return False
        self.final_since = self.final_since or time.monotonic()
        settled = all(map(call_has_ended, self.submission.calls))
        return settled or time.monotonic() - self.final_since > GRACE

    def outcomes(self) -> list[CallOutcome]:
        """Return the outcome of each call, once all have ended."""
        return call_outcomes(self.submission, self.states)

    def __str__(self) -> str:
        """Return the states of the jobs in one line."""
        job = f"job {self.submission.job_id}"
        if self.silent:
            return f"{job}: Slurm does not answer; it may well go on, and so does this command"
        return f"{job}: {describe_job_states(self.states, self.submission.max_requeues)}"


def describe_job_states(states: Sequence[JobState], max_requeues: int) -> str:
    """Return the state of a job in words; of an array, the number of calls in each state."""
    if len(states) == 1:
        return describe_job_state(states[0], max_requeues)
    counted = Counter(state.state.lower() for state in states)
    return ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))


def describe_job_state(state: JobState, max_requeues: int) -> str:
    """Return a job's state in words, with reason, nodes and requeues."""
    parts = [state.state.lower()]
    parts += [f"({state.reason})"] if state.reason and not state.is_final else []
    parts += [f"on {state.nodes}"] if state.nodes else []
    parts += [f"- requeued {state.requeues} of at most {max_requeues} times"] if state.requeues else []
    return " ".join(parts)


class LogTail:
    """Log of a call as it grows, through requeues."""

    def __init__(self, call: CallFiles, from_start: bool) -> None:
        self.call, self.from_start = call, from_start
        self.path: Path | None = None
        self.offset = 0

    def news(self) -> str:
        """Return the whole lines that were added to the log since the last call of this function."""
        attempts = self.call.attempts()
        if not attempts or not exists(attempts[-1].log):
            return ""
        if attempts[-1].log != self.path:
            self.path, self.offset = attempts[-1].log, 0
        with open_regular(self.path) as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        lines = whole.decode(errors="replace").splitlines(keepends=True)
        if not self.from_start:
            lines, self.from_start = lines[-SHOWN_LINES:], True
        return "".join(lines)


def wait_for_outcomes(submission: Submission, show: ShowText, from_start: bool) -> list[CallOutcome]:
    """Wait until every call has ended, and return the outcome of each.

    `show` gets the states of the jobs as they change and, of a single call, the log: all of it, or (without
    `from_start`) the lines from now on and a few before.
    """
    submission.refuse_closed()
    watcher, shown = SubmissionWatcher(submission), ""
    tails = [LogTail(call, from_start) for call in submission.calls[:1] if submission.num_calls == 1]
    while not watcher.has_ended():
        if str(watcher) != shown and (watcher.states or watcher.silent):
            shown = str(watcher)
            show(f"{shown}\n")
        for tail in tails:
            show(tail.news())
        time.sleep(FILE_POLL)
    for tail in tails:
        show(tail.news())
    return watcher.outcomes()


def call_has_ended(call: CallFiles) -> bool:
    """Return True when the folder has a call's value or a failure."""
    return call.has_value() or call.first_failure() is not None


def call_outcomes(submission: Submission, states: Sequence[JobState]) -> list[CallOutcome]:
    """Return the outcome of each call, once nothing of the submission runs."""
    return [
        CallOutcome.of(call.value(), call.folder)
        if call.has_value()
        else CallOutcome.failed(call_failure(submission, call, states[index]))
        for index, call in enumerate(submission.calls)
    ]


def call_failure(submission: Submission, call: CallFiles, state: JobState) -> CallFailure:
    """Return the failure of a call, by the files of its ranks and the state of its job."""
    attempts, rank = call.attempts(), call.first_failure()
    job_id = submission.job_id if submission.num_calls == 1 else f"{submission.job_id}_{call.index}"
    log = attempts[-1].log if attempts else submission.folder / f"{job_id}_0_log.out"
    cause = failure_cause(state, rank, log, attempts[-1].log_start if attempts else 0)
    error = failure_class(rank, cause)
    left = max(0, submission.max_requeues - state.requeues)
    return CallFailure(job_id, cause.words, state.exit_status, rank, log, error, submission.token, left)


def failure_class(rank: RankFailure | None, cause: FailureCause) -> type[CosmosError]:
    """Return the class of errors that decides what follows: the failing rank's, or else the cause's.

    An error of no class of its own, as of a rank that lost another one, leaves it to the cause.
    """
    of_rank = class_of_kind(rank.kind if rank else "")
    return cause.error if of_rank is CosmosError else of_rank


def failure_cause(state: JobState, rank: RankFailure | None, log: Path, log_start: int = 0) -> FailureCause:
    """Return the cause of a job's failure: its state, the first rank's failure, or its last start's log."""
    if rank and issubclass(class_of_kind(rank.kind), OutOfMemoryError):
        return FINAL_STATES["OUT_OF_MEMORY"]
    if rank and class_of_kind(rank.kind) is StoppedError:
        return STOPPED
    if rank and state.state in ("GONE", "COMPLETED"):
        return FINAL_STATES["FAILED"]
    if rank or state.state != "FAILED":
        return FINAL_STATES[state.state]
    if state.exit_status == UNOPENED_LOG_STATUS:
        return UNOPENED_LOG
    causes = (
        replace(cause, words=match.expand(cause.words))
        for line in last_log_lines(log, SEARCHED_LINES, log_start)
        for pattern, cause in LOGGED_CAUSES
        if (match := re.match(pattern, line))
    )
    return next(causes, FINAL_STATES["FAILED"])
