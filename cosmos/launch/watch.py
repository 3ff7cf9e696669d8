"""Waiting for a submission: its log as it grows, its states as they change, and how each call ended."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from cosmos.launch.outcome import CallFiles, Failure, Outcome, RankFailure, last_lines
from cosmos.launch.slurm import FINAL_STATES, JobState, SlurmSilentError
from cosmos.launch.submission import Submission

Show = Callable[[str], None]
"""Takes text for a person, line ends included."""

TICK = 0.5
"""Seconds between looks at files."""

SHORTEST_POLL, LONGEST_POLL = 2.0, 30.0
"""Seconds between questions to the scheduler, at first and in the long run."""

GRACE = 15.0
"""Seconds that a shared file system may take to show what a job wrote last."""

SHOWN_LINES = 20
"""Lines of a log that show what came before one looked."""

TOLD_LINES = 40
"""Lines at a log's end in which Slurm may say why a job failed."""

MEMORY_ERRORS = ("OutOfMemoryError", "MemoryError")
"""Exceptions of Python and torch that say that memory ran out."""

KILLED = "had a process killed, mostly a lack of memory; raise slurm.memory_gb or lower COSMOS_WORKERS"
"""Why a job failed whose process was killed by somebody who left no word."""

STEP_CANCELLED = "had its step cancelled; the same command goes on from the last save"
"""Why a job failed whose processes somebody killed through Slurm, with scancel JOB.STEP."""

TELLING_LINES = (
    (r"slurmstepd\S*: error: .*(exceeded.* memory limit|oom_kill event)", FINAL_STATES["OUT_OF_MEMORY"]),
    (r"srun: error: \S+ tasks? \S+: Out Of Memory", FINAL_STATES["OUT_OF_MEMORY"]),
    (r"slurmstepd\S*: error: \*\*\* STEP \S+ ON \S+ CANCELLED AT \S+ \*\*\*$", STEP_CANCELLED),
    (r"srun: error: \S+ tasks? \S+: Killed", KILLED),
    (r"srun: error: \S+ tasks? \S+: Exited", FINAL_STATES["FAILED"]),
)
"""What Slurm's programs write into the log of a job that failed, and why it did; the first line decides."""


class Watcher:
    """What is known of a submission's jobs, asked for again only once it may have changed."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.states: Sequence[JobState] = ()
        self.asked, self.poll, self.failures = 0.0, SHORTEST_POLL, 0
        self.silent, self.final_since = False, 0.0

    def update(self) -> None:
        """Asks how the jobs stand, unless that was done a moment ago.

        A new failure in the folder, or an answer that all is over, is a reason to ask again soon; otherwise
        questions become rarer with time.
        """
        waited, failures = time.monotonic() - self.asked, self.submission.num_failures()
        unsettled = failures != self.failures or self.all_final
        if waited < (SHORTEST_POLL if unsettled else self.poll):
            return
        self.asked, self.poll, self.failures = time.monotonic(), min(LONGEST_POLL, self.poll * 1.1), failures
        try:
            self.states = self.submission.look()
            self.silent = False
        except SlurmSilentError:
            self.states, self.silent = (), True

    @property
    def all_final(self) -> bool:
        """Whether nothing runs any more, as far as is known."""
        return bool(self.states) and all(state.is_final for state in self.states)

    def has_ended(self) -> bool:
        """Whether every call has returned, or nothing runs any more and the folder had time to say why."""
        if self.submission.is_finished():
            return True
        self.update()
        if not self.all_final:
            self.final_since = 0.0
            return False
        self.final_since = self.final_since or time.monotonic()
        settled = all(map(is_settled, self.submission.calls))
        return settled or time.monotonic() - self.final_since > GRACE

    def outcomes(self) -> list[Outcome]:
        """How each call ended, once it has."""
        return outcomes(self.submission, self.states)

    def __str__(self) -> str:
        """One line on how the jobs stand."""
        job = f"job {self.submission.job_id}"
        if self.silent:
            return f"{job}: Slurm does not answer; it may well go on, and so does this command"
        if len(self.states) == 1:
            return f"{job}: {in_words(self.states[0], self.submission.max_requeues)}"
        counted = Counter(state.state.lower() for state in self.states)
        return f"{job}: {', '.join(f'{count} {state}' for state, count in sorted(counted.items()))}"


def in_words(state: JobState, max_requeues: int) -> str:
    """A job's state, with reason, nodes and requeues."""
    parts = [state.state.lower()]
    parts += [f"({state.reason})"] if state.reason and not state.is_final else []
    parts += [f"on {state.nodes}"] if state.nodes else []
    parts += [f"- requeued {state.requeues} of at most {max_requeues} times"] if state.requeues else []
    return " ".join(parts)


class Tail:
    """A call's log as it grows, through requeues."""

    def __init__(self, call: CallFiles, from_start: bool) -> None:
        self.call, self.from_start = call, from_start
        self.path: Path | None = None
        self.offset = 0

    def news(self) -> str:
        """What was added since the last look, in whole lines."""
        attempts = self.call.attempts()
        if not attempts or not attempts[-1].log.exists():
            return ""
        if attempts[-1].log != self.path:
            self.path, self.offset = attempts[-1].log, 0
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        lines = whole.decode(errors="replace").splitlines(keepends=True)
        if not self.from_start:
            lines, self.from_start = lines[-SHOWN_LINES:], True
        return "".join(lines)


def wait(submission: Submission, show: Show, from_start: bool) -> list[Outcome]:
    """Waits until every call has ended.

    `show` gets how the jobs stand as it changes and, of a single call, the log: all of it, or (without
    `from_start`) what comes from now on and a few lines before.
    """
    watcher, told = Watcher(submission), ""
    tails = [Tail(call, from_start) for call in submission.calls[:1] if submission.num_calls == 1]
    while not watcher.has_ended():
        if str(watcher) != told and (watcher.states or watcher.silent):
            told = str(watcher)
            show(f"{told}\n")
        for tail in tails:
            show(tail.news())
        time.sleep(TICK)
    for tail in tails:
        show(tail.news())
    return watcher.outcomes()


def is_settled(call: CallFiles) -> bool:
    """Whether the folder says how a call ended."""
    return call.has_value() or call.first_failure() is not None


def outcomes(submission: Submission, states: Sequence[JobState]) -> list[Outcome]:
    """How each call ended, once nothing of it runs."""
    found = []
    for index, call in enumerate(submission.calls):
        if call.has_value():
            found.append(Outcome.of(call.value()))
        else:
            found.append(Outcome.failed(failure(submission, call, states[index])))
    return found


def failure(submission: Submission, call: CallFiles, state: JobState) -> Failure:
    """Why a call has no value, from what its ranks and the scheduler say."""
    attempts, rank = call.attempts(), call.first_failure()
    job_id = submission.job_id if submission.num_calls == 1 else f"{submission.job_id}_{call.index}"
    log = attempts[-1].log if attempts else submission.folder / f"{job_id}_0_log.out"
    return Failure(job_id, cause(state, rank, log), state.exit_status, rank, log)


def cause(state: JobState, rank: RankFailure | None, log: Path) -> str:
    """Why a job has no value, in one line."""
    if rank and rank.error in MEMORY_ERRORS:
        return FINAL_STATES["OUT_OF_MEMORY"]
    if rank and state.state in ("GONE", "COMPLETED"):
        return FINAL_STATES["FAILED"]
    if rank or state.state != "FAILED":
        return FINAL_STATES[state.state]
    told = (
        meaning
        for line in last_lines(log, TOLD_LINES)
        for pattern, meaning in TELLING_LINES
        if re.match(pattern, line)
    )
    return next(told, FINAL_STATES["FAILED"])
