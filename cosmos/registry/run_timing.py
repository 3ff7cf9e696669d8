"""Command `cosmos runs show RUN --timing`: where the time of a run's steps went."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_duration, format_number, format_share
from cosmos.config.printable_text import print_text, printable
from cosmos.config.training_parts import EXCHANGE_PARTS, PART_TITLES, STEP_PARTS
from cosmos.errors import InputError
from cosmos.registry.commands import find_run
from cosmos.report.columns import COLUMN_GAP, gaps_to_widest
from cosmos.report.step_timing import RankTiming, RunTiming
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics
from cosmos.run.records import TolerantReader
from cosmos.run.step_trace import StepTrace

SPEEDS = ("samples_per_second", "data_wait", "flops_per_second", "mfu")
"""Metrics of speed, of which the median line is shown."""

RANKS_SHOWN = 8
"""Largest number of ranks that are shown."""


def print_run_timing(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Print where the time of a run went, and return it.

    Raises InputError for a name that is none, and for a run that kept no timing.
    """
    run, full_name = find_run(name, machine)
    reader = TolerantReader()
    trace = reader.read(run.timing, partial(StepTrace.of, run.timing), StepTrace([]))
    for problem in (*reader.problems, *([f"{trace.damage}; they are left out"] if trace.damage else [])):
        print_text(problem, to_errors=True)
    timing = RunTiming.of(trace)
    lines = read_metrics(run.metrics)
    if timing is None:
        raise InputError(f"{full_name}: {absence_reason(run, lines)}")
    speeds = median_speeds(lines)
    if not quiet:
        print_text("\n".join(map(printable, timing_lines(full_name, timing, speeds))))
    return timing_values(full_name, timing, speeds)


def absence_reason(run: RunDir, lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the reason why a run has no timing."""
    if any("loss" in line for line in lines):
        if not exists(run.timing):
            return f"{run.timing}: no such file; a run of an earlier version kept none"
        return f"{run.timing}: holds no step any more; put it back, as from a copy"
    return f"{run.timing}: no timing yet; it comes with the first loss in {run.metrics.name}"


def median_speeds(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the medians of the metrics of speed that a run has."""
    columns = {key: [line[key] for line in lines if line.get(key) is not None] for key in SPEEDS}
    return {key: statistics.median(values) for key, values in columns.items() if values}


def timing_values(name: str, timing: RunTiming, speeds: Mapping[str, float]) -> dict[str, Any]:
    """Return the timing of a run as values of JSON; times in seconds of a step, but for those outside."""
    session, slow = timing.last.session, timing.straggler
    return {
        "name": name,
        "steps": timing.num_steps,
        "sessions": len(timing.sessions),
        "device": session.device,
        "workers": session.workers,
        "seconds_per_step": timing.step_seconds,
        **speeds,
        "parts": {part.part: {**asdict(part), "title": PART_TITLES[part.part]} for part in timing.parts},
        "outside": dict(timing.outside),
        "ranks": [asdict(rank) for rank in timing.ranks],
        "straggler": asdict(slow) if slow else None,
        "slowest_step": asdict(timing.slowest_step) if timing.slowest_step else None,
        "change": asdict(timing.change) if timing.change else None,
        "verdict": timing.verdict(),
    }


def timing_lines(name: str, timing: RunTiming, speeds: Mapping[str, float]) -> Iterator[str]:
    """Yield the timing of a run, for people."""
    pace = f"{timing.num_steps:,} steps of {format_number(timing.step_seconds)} s"
    yield f"{name}: {pace}, {describe_place(timing)}"
    yield ""
    parts = [
        (
            PART_TITLES[part.part],
            format_share(part.share),
            *map(format_seconds, (part.mean, part.median, part.p95)),
        )
        for part in timing.parts
    ]
    yield from aligned([("part of a step", "share", "mean, s", "median", "p95"), *parts])
    yield from outside_lines(timing)
    if len(timing.ranks) > 1:
        yield ""
        yield from aligned(
            [("rank", "own, s", "of which data", "waits"), *map(rank_cells, shown_ranks(timing))]
        )
    if speeds:
        yield ""
        yield "; ".join(f"{key} {format_speed(value)}" for key, value in speeds.items())
    if slow := timing.slowest_step:
        seconds, part = format_number(slow.seconds), format_number(slow.part_seconds)
        most = f"{PART_TITLES[slow.part]} {part} s"
        yield f"slowest step: {slow.step:,}, {seconds} s, of which {most} (rank {slow.rank})"
    yield ""
    yield from timing.verdict()


def describe_place(timing: RunTiming) -> str:
    """Return sessions, ranks and device of a run."""
    session, count = timing.last.session, len(timing.sessions)
    hosts = list(dict.fromkeys(session.hosts))
    named = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more hosts" if len(hosts) > 4 else "")
    ranks = f"{len(timing.ranks)} ranks" if len(timing.ranks) > 1 else "one rank"
    sessions = f"{count} session{'s' if count > 1 else ''}"
    return f"{sessions}; the last: {ranks} on {named or 'hosts unknown'} ({session.device})"


def outside_lines(timing: RunTiming) -> Iterator[str]:
    """Yield the time outside of steps."""
    if timing.outside:
        parts = (
            f"{PART_TITLES[part]} {format_long(seconds)} ({format_share(seconds / timing.whole)})"
            for part, seconds in timing.outside.items()
        )
        yield f"outside of steps, of all the time: {', '.join(parts)}"


def shown_ranks(timing: RunTiming) -> list[RankTiming]:
    """Return the slowest ranks, and the fastest one."""
    return (
        timing.ranks
        if len(timing.ranks) <= RANKS_SHOWN
        else [*timing.ranks[: RANKS_SHOWN - 1], timing.ranks[-1]]
    )


def rank_cells(rank: RankTiming) -> tuple[str, ...]:
    """Return the cells of a rank: own time, its wait for data, and shares of a step."""
    total = sum(rank.parts[part] for part in STEP_PARTS) or 1.0
    waits = sum(rank.parts[part] for part in EXCHANGE_PARTS)
    label = f"{rank.rank} on {rank.host}" if rank.host else str(rank.rank)
    return (
        label,
        format_seconds(rank.own),
        format_share(rank.parts["data"] / total),
        format_share(waits / total),
    )


def format_seconds(seconds: float) -> str:
    """Return seconds of a part of a step: three digits, or microseconds of a very short one."""
    return f"{seconds:.3g}" if seconds >= 1e-4 or not seconds else f"{seconds:.0e}"


def format_long(seconds: float) -> str:
    """Return seconds that may be many, or a fraction of one."""
    return format_duration(seconds) if seconds >= 10 else f"{format_seconds(seconds)} s"


def format_speed(value: float) -> str:
    """Return a metric of speed: a large one, as of operations, with three digits."""
    return f"{value:.3g}" if value >= 1e6 else format_number(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines; the first column is text, the others are numbers."""
    columns = [
        [
            text + gap if not place else gap + text
            for text, gap in zip(column, gaps_to_widest(column), strict=True)
        ]
        for place, column in enumerate(zip(*rows, strict=True))
    ]
    return [(" " * COLUMN_GAP).join(cells).rstrip() for cells in zip(*columns, strict=True)]
