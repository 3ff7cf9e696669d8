"""Timing of a run: the parts of its steps, the rank that the others waited for, and the change meanwhile."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cosmos.config.number_text import format_number, format_share
from cosmos.config.training_parts import (
    OWN_PARTS,
    PART_TITLES,
    STEP_PARTS,
    TRAINING_PARTS,
    TrainingPart,
)
from cosmos.run.step_trace import SessionTrace, SlowestStep, StepTrace, TracedStretch, joined_stretch

WORTH_NAMING = 0.05
"""Share of the steps' time that a rank has to cost the others to be named as the straggler."""

WORTH_SAYING: Mapping[TrainingPart, float] = {
    "data": 0.1,
    "transfer": 0.15,
    "gradients": 0.15,
    "update": 0.25,
    "rest": 0.15,
    "start": 0.1,
    "logging": 0.05,
    "saving": 0.1,
    "evaluating": 0.25,
}
"""Share of the steps' time, or of all the time for a part outside of steps, from which on it is said."""

REMEDIES: Mapping[TrainingPart, str] = {
    "data": "more workers (COSMOS_WORKERS, {workers} there), colours of the views on the device "
    "(COSMOS_AUGMENT_ON=device) or a faster disk for the shards",
    "transfer": "colours of the views in the workers (COSMOS_AUGMENT_ON=workers)",
    "forward": "a device or cores that are slower there, or shared with other processes",
    "backward": "a device or cores that are slower there, or shared with other processes",
    "gradients": "fewer nodes, faster links between them, or a larger batch on each rank",
    "update": "more samples a step on each rank: the update takes the same time for any number",
    "rest": "a processor that is too busy to start the device's work; fewer workers or threads",
    "start": "fewer and longer sessions, or fewer workers (COSMOS_WORKERS)",
    "logging": "a larger pretrain.log_every_steps",
    "saving": "a larger COSMOS_CHECKPOINT_EVERY_MINUTES, or a faster disk for the runs",
    "evaluating": "evaluations in a job beside training (COSMOS_EVALUATE_IN=job), or fewer of them "
    "(pretrain.evaluate_every_epochs)",
}
"""Remedies by the part that takes too long."""

FEWEST_STRETCHES = 6
"""Number of lines of metrics from which on the first and the last third of a run are compared."""

WORTH_COMPARING = 0.1
"""Relative change of a step's time that is worth a sentence."""


@dataclass(frozen=True)
class PartTiming:
    """Time of a part in a step; in seconds."""

    part: TrainingPart
    mean: float
    """over steps and ranks"""
    share: float
    """share of a step"""
    median: float
    p95: float


@dataclass(frozen=True)
class RankTiming:
    """Time of a rank in a step; in seconds."""

    rank: int
    host: str
    """"" where it is not known"""
    own: float
    """without waits for other ranks"""
    parts: Mapping[TrainingPart, float]

    @property
    def label(self) -> str:
        """Name of the rank for people."""
        return f"rank {self.rank} on {self.host}" if self.host else f"rank {self.rank}"


@dataclass(frozen=True)
class Straggler:
    """Rank that the others wait for, and the part in which it loses the time; in seconds of a step."""

    rank: RankTiming
    part: TrainingPart
    usual: float
    """the part on the median one of the others"""
    lost: float
    """time that the rank takes longer than the median one of the others"""


@dataclass(frozen=True)
class TimingChange:
    """Change of a step's time from the first third of the lines of a run to the last one; in seconds."""

    first: float
    last: float
    part: TrainingPart
    """the part that changed most"""
    part_first: float
    part_last: float


@dataclass(frozen=True)
class RunTiming:
    """Timing of a run, from its trace."""

    sessions: Sequence[SessionTrace]

    @classmethod
    def of(cls, trace: StepTrace) -> "RunTiming | None":
        """Return the timing of a run; None where its trace has no step."""
        sessions = [session for session in trace.sessions if any(part.steps for part in session.stretches)]
        return cls(sessions) if sessions else None

    @property
    def last(self) -> SessionTrace:
        """The newest session."""
        return self.sessions[-1]

    @cached_property
    def stretches(self) -> list[TracedStretch]:
        """Stretches of all sessions."""
        return [stretch for session in self.sessions for stretch in session.stretches]

    @cached_property
    def num_steps(self) -> int:
        """Number of steps that were timed."""
        return sum(stretch.steps for stretch in self.stretches)

    @cached_property
    def totals(self) -> dict[TrainingPart, float]:
        """Seconds of all sessions by part, mean over the ranks."""
        return mean_seconds(self.stretches)

    @cached_property
    def step_seconds(self) -> float:
        """Seconds of a step, without what is outside of steps."""
        return sum(self.totals[part] for part in STEP_PARTS) / self.num_steps

    @cached_property
    def whole(self) -> float:
        """Seconds of all that was timed."""
        return sum(self.totals.values()) or 1.0

    @cached_property
    def parts(self) -> list[PartTiming]:
        """Parts of a step that took any time; median and 95th percentile are of the newest steps."""
        newest = next(stretch for stretch in reversed(self.stretches) if stretch.steps)
        total = self.step_seconds * self.num_steps or 1.0
        return [
            PartTiming(
                part,
                self.totals[part] / self.num_steps,
                self.totals[part] / total,
                newest.median.get(part, 0.0),
                newest.p95.get(part, 0.0),
            )
            for part in STEP_PARTS
            if self.totals[part]
        ]

    @cached_property
    def outside(self) -> dict[TrainingPart, float]:
        """Seconds outside of steps by part, of those that took any."""
        others = (part for part in TRAINING_PARTS if part not in STEP_PARTS)
        return {part: self.totals[part] for part in others if self.totals[part]}

    @cached_property
    def ranks(self) -> list[RankTiming]:
        """Ranks of the newest session, the slowest first."""
        whole, hosts = joined_stretch(self.last.stretches), self.last.session.hosts
        ranks = [
            rank_timing(rank, hosts[rank] if rank < len(hosts) else "", whole)
            for rank in range(whole.num_ranks)
        ]
        return sorted(ranks, key=lambda rank: -rank.own)

    @cached_property
    def straggler(self) -> Straggler | None:
        """Rank that the others wait for; None where they wait less than is worth naming."""
        slowest, *others = self.ranks
        if not others:
            return None
        lost = slowest.own - statistics.median(rank.own for rank in others)
        if lost < WORTH_NAMING * (sum(slowest.parts[part] for part in STEP_PARTS) or 1.0):
            return None
        usual = {part: statistics.median(rank.parts[part] for rank in others) for part in OWN_PARTS}
        part = max(OWN_PARTS, key=lambda name: slowest.parts[name] - usual[name])
        return Straggler(slowest, part, usual[part], lost)

    @cached_property
    def slowest_step(self) -> SlowestStep | None:
        """Slowest step of all."""
        steps = filter(None, (stretch.slowest for stretch in self.stretches))
        return max(steps, key=lambda step: step.seconds, default=None)

    @cached_property
    def change(self) -> TimingChange | None:
        """Change of a step's time while the run went on; None for a run with few lines."""
        lines = [stretch for stretch in self.stretches if stretch.steps]
        if len(lines) < FEWEST_STRETCHES:
            return None
        third = len(lines) // 3
        first, last = step_means(lines[:third]), step_means(lines[-third:])
        part = max(STEP_PARTS, key=lambda name: abs(last[name] - first[name]))
        return TimingChange(sum(first.values()), sum(last.values()), part, first[part], last[part])

    def verdict(self) -> list[str]:
        """Return what takes the time, a sentence each, with what would do about it."""
        sentences = [*self._straggler_sentences(), *self._part_sentences()]
        return [*(sentences or [self._usual_sentence()]), *self._change_sentences()]

    def _usual_sentence(self) -> str:
        own = sum(timing.share for timing in self.parts if timing.part in ("forward", "loss", "backward"))
        return f"the model's own work takes {format_share(own)} of the steps' time; nothing else stands out"

    def _straggler_sentences(self) -> Iterator[str]:
        if (slow := self.straggler) is None:
            return
        total = sum(slow.rank.parts[part] for part in STEP_PARTS)
        seconds = slow.rank.parts[slow.part], slow.usual, slow.lost
        own, usual, lost = (format_share(value / total) for value in seconds)
        help_from = "look for" if slow.part in ("forward", "backward") else "what may help:"
        remedy = REMEDIES[slow.part].format(workers=self.last.session.workers)
        yield (
            f"{slow.rank.label} is the straggler: {PART_TITLES[slow.part]} takes {own} of its steps' time, "
            f"{usual} elsewhere, and the others wait for it {lost} of the time; {help_from} {remedy}"
        )

    def _part_sentences(self) -> Iterator[str]:
        named = self.straggler.part if self.straggler else None
        shares = {timing.part: timing.share for timing in self.parts if timing.part != named}
        shares |= {part: seconds / self.whole for part, seconds in self.outside.items()}
        for part, least in WORTH_SAYING.items():
            if shares.get(part, 0.0) >= least:
                place = "the steps'" if part in STEP_PARTS else "all the"
                remedy = REMEDIES[part].format(workers=self.last.session.workers)
                share = f"{PART_TITLES[part]} takes {format_share(shares[part])} of {place} time"
                yield f"{share}; what may help: {remedy}"

    def _change_sentences(self) -> Iterator[str]:
        change = self.change
        if change and abs(change.last - change.first) > WORTH_COMPARING * change.first:
            yield (
                f"a step took {format_number(change.first)} s in the first third and "
                f"{format_number(change.last)} s in the last one, {PART_TITLES[change.part]} "
                f"{format_number(change.part_first)} and {format_number(change.part_last)} s of it"
            )


def mean_seconds(stretches: Iterable[TracedStretch]) -> dict[TrainingPart, float]:
    """Return the seconds of stretches by part, mean over the ranks."""
    totals = dict.fromkeys(TRAINING_PARTS, 0.0)
    for stretch in stretches:
        for part, times in stretch.seconds.items():
            totals[part] += statistics.fmean(times)
    return totals


def step_means(stretches: Sequence[TracedStretch]) -> dict[TrainingPart, float]:
    """Return the seconds of a step in stretches by its parts, mean over steps and ranks."""
    totals, steps = mean_seconds(stretches), sum(stretch.steps for stretch in stretches)
    return {part: totals[part] / steps for part in STEP_PARTS}


def rank_timing(rank: int, host: str, whole: TracedStretch) -> RankTiming:
    """Return the time of a rank in a step of a stretch."""
    none = (0.0,) * whole.num_ranks
    parts = {part: whole.seconds.get(part, none)[rank] / (whole.steps or 1) for part in TRAINING_PARTS}
    return RankTiming(rank, host, sum(parts[part] for part in OWN_PARTS), parts)
