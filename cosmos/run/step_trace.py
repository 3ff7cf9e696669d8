"""Trace of a training's steps: timing.jsonl of a run directory, the time of each rank by part.

It has a line for each session, with the hosts of its ranks, and one for each line of metrics, with the time
since the one before. A file above MAX_TRACE_BYTES has its lines joined in pairs, so that it stays below for
any number of steps and ranks. A damaged line is left out, and dropped when the run goes on.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from cosmos.config.disk_reading import open_regular
from cosmos.config.training_parts import TrainingPart
from cosmos.run.files import naming_disk_errors, open_to_append, write_text
from cosmos.run.records import describe_problem, parse_record

logger = logging.getLogger(__name__)

MAX_TRACE_BYTES = 1 << 23
"""Size of a trace above which its lines are joined in pairs."""

FEWEST_LINES = 8
"""Number of lines that are not joined, whatever their size."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


@dataclass(frozen=True)
class TracedSession:
    """Session of a training, as far as its speed depends on it."""

    steps_before: Count
    """steps that the run had taken before"""
    hosts: tuple[str, ...]
    """host of each rank"""
    device: str
    workers: Count
    """loader processes of a rank"""


@dataclass(frozen=True)
class SlowestStep:
    """Slowest step of a stretch, by the rank that it took longest."""

    step: Count
    rank: Count
    seconds: Seconds
    part: TrainingPart
    """part that took most of it"""
    part_seconds: Seconds


@dataclass(frozen=True)
class TracedStretch:
    """Time of the ranks of a training in a stretch of its steps, by part."""

    step: Count
    """the last one"""
    steps: Count
    """number of them"""
    seconds: dict[TrainingPart, tuple[Seconds, ...]]
    """sums, by rank; without parts that took none of them any time"""
    median: dict[TrainingPart, Seconds]
    """median of a step among the newest steps of each rank; the median of the ranks"""
    p95: dict[TrainingPart, Seconds]
    """95th percentile of a step, among the newest steps of each rank; the largest of the ranks"""
    slowest: SlowestStep | None

    @property
    def num_ranks(self) -> int:
        """Number of ranks; 0 where nothing took any time."""
        return max(map(len, self.seconds.values()), default=0)

    @property
    def is_consistent(self) -> bool:
        """True when each part has the times of all ranks."""
        return {len(times) for times in self.seconds.values()} <= {self.num_ranks}

    def joined(self, later: "TracedStretch") -> "TracedStretch":
        """Return this stretch and the one after it as one; quantiles are those of the later one."""
        parts = dict.fromkeys([*self.seconds, *later.seconds])
        none = (0.0,) * self.num_ranks
        seconds = {
            part: tuple(
                map(sum, zip(self.seconds.get(part, none), later.seconds.get(part, none), strict=True))
            )
            for part in parts
        }
        slowest = max(
            filter(None, (self.slowest, later.slowest)), key=lambda step: step.seconds, default=None
        )
        return TracedStretch(later.step, self.steps + later.steps, seconds, later.median, later.p95, slowest)


@dataclass(frozen=True)
class SessionTrace:
    """Stretches of a session, in their order."""

    session: TracedSession
    stretches: Sequence[TracedStretch]

    def halved(self) -> "SessionTrace":
        """Return the session with its stretches joined in pairs."""
        pairs = [self.stretches[start : start + 2] for start in range(0, len(self.stretches), 2)]
        return SessionTrace(self.session, [joined_stretch(pair) for pair in pairs])

    def until(self, step: int) -> "SessionTrace":
        """Return the session without the stretches that end after a step."""
        return SessionTrace(self.session, [part for part in self.stretches if part.step <= step])

    def lines(self) -> list[str]:
        """Return the session as lines of a trace."""
        return [trace_line(self.session), *map(trace_line, self.stretches)]


def joined_stretch(stretches: Sequence[TracedStretch]) -> TracedStretch:
    """Return consecutive stretches of a session as one."""
    whole, *others = stretches
    for stretch in others:
        whole = whole.joined(stretch)
    return whole


NO_SESSION = TracedSession(0, (), "", 0)
"""Session whose own line is damaged."""


@dataclass(frozen=True)
class StepTrace:
    """Trace of a run: its sessions, and the damage of the file."""

    sessions: Sequence[SessionTrace]
    """those that have a stretch"""
    damage: str = ""
    """file and number of the damaged lines; "" where there are none"""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a trace; a missing one has no sessions. A last line that a kill cut short is no damage.

        Raises OSError where the file cannot be read.
        """
        content = b""
        with suppress(FileNotFoundError), open_regular(path) as file:
            content = file.read()
        *whole, last = content.split(b"\n")
        parsed = {number: parse_trace_line(raw) for number, raw in enumerate((*whole, last), 1) if raw}
        damaged = [number for number, line in parsed.items() if line is None and number <= len(whole)]
        damage = f"{path}: damaged lines: {len(damaged)}, from line {damaged[0]} on" if damaged else ""
        sessions = split_sessions(filter(None, parsed.values()))
        return cls([session for session in sessions if session.stretches], damage)


def split_sessions(lines: Iterable[TracedSession | TracedStretch]) -> list[SessionTrace]:
    """Return the sessions of the lines of a trace."""
    sessions: list[tuple[TracedSession, list[TracedStretch]]] = []
    for line in lines:
        if isinstance(line, TracedSession):
            sessions.append((line, []))
            continue
        before = sessions[-1][1] if sessions else []
        if not sessions or (before and before[-1].num_ranks != line.num_ranks):
            sessions.append((NO_SESSION, []))
        sessions[-1][1].append(line)
    return [SessionTrace(*session) for session in sessions]


def parse_trace_line(raw: bytes) -> TracedSession | TracedStretch | None:
    """Return the session or the stretch of a line; None for one that is damaged."""
    try:
        if b'"hosts"' in raw:
            return parse_record(raw, TracedSession)
        stretch = parse_record(raw, TracedStretch)
    except ValueError:
        return None
    return stretch if stretch.is_consistent and stretch.num_ranks else None


def trace_line(line: TracedSession | TracedStretch) -> str:
    """Return a session or a stretch as a line of a trace, times with four significant digits."""
    return json.dumps(_shortened(asdict(line)), separators=(",", ":")) + "\n"


def _shortened(value: Any) -> Any:
    """Return a value of JSON with its numbers rounded."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


class StepTraceWriter:
    """Writer of a run's trace, which the first rank uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = self._lines = 0
        self._is_kept = True

    def begin(self, session: TracedSession) -> None:
        """Begin a session; drop the stretches of steps that it takes again, and damaged lines with a warning.

        No timing is kept, with a warning, where something else is in the place of the file, or it may not be
        read: training goes on without. Raises TransientError where the disk is full or fails.
        """
        try:
            trace = StepTrace.of(self.path)
        except OSError as error:
            self._is_kept = False
            logger.warning("%s; no timing is kept; move it away", describe_problem(self.path, error))
            return
        if trace.damage:
            logger.warning("%s; dropped", trace.damage)
        kept = (earlier.until(session.steps_before) for earlier in trace.sessions)
        self._write([*(earlier for earlier in kept if earlier.stretches), SessionTrace(session, [])])

    def add(self, stretch: TracedStretch) -> None:
        """Append a stretch. Raises TransientError where the disk is full or fails."""
        if not self._is_kept:
            return
        line = trace_line(stretch)
        with naming_disk_errors(self.path), open_to_append(self.path) as file:
            file.write(line)
        self._size, self._lines = self._size + len(line), self._lines + 1
        if self._size > MAX_TRACE_BYTES and self._lines > FEWEST_LINES:
            self._write([session.halved() for session in StepTrace.of(self.path).sessions])

    def _write(self, sessions: Iterable[SessionTrace]) -> None:
        """Replace the file by sessions."""
        lines = [line for session in sessions for line in session.lines()]
        write_text(self.path, "".join(lines))
        self._size, self._lines = sum(map(len, lines)), len(lines)
