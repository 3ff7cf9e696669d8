"""Verdict on several configurations by a figure: the one that leads, whether it wins, who ties with it.

The leader is compared with each of the others, and the probabilities are corrected for their number (Holm
1979, Scandinavian Journal of Statistics 6, 65). It wins where all are below 1 - LEVEL; others tie with it.
Among equals a winner is thus named in at most 1 - LEVEL of all cases (Gutmann and Maymin 1987, Annals of
Statistics 15, 456: the best of several against the second, by a two-sided test), and the best one is among
the leader and those that tie with it in at least LEVEL of all cases.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cosmos.run.statistics.differences import FigureDifference, SeedSpread, compare_samples
from cosmos.run.statistics.intervals import LEVEL, LEVEL_TEXT
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.statistics.student import normal_quantile

POWER = 0.8
"""Share of experiments that would show a difference, with the seeds or images that an estimate gives."""

MAX_SEEDS = 99
"""Largest number of seeds that an estimate names."""

MAX_TIMES_IMAGES = 99
"""Largest multiple of the images that an estimate names."""

MAX_NAMED_RIVALS = 5
"""Rivals that a sentence names."""


@dataclass(frozen=True)
class LeadOverRival:
    """Lead over one of the others."""

    difference: FigureDifference
    """leader minus rival, positive where the leader is better"""
    probability: float
    """probability of so large a difference between equals, corrected for the number of rivals"""

    @property
    def is_tie(self) -> bool:
        """True where the difference may be chance."""
        return self.probability >= 1 - LEVEL

    @property
    def is_blind(self) -> bool:
        """True where neither images nor seeds show how far the difference may be chance."""
        return math.isnan(self.difference.error)


@dataclass(frozen=True)
class Lead:
    """Leader by a figure, and its lead over each of the others."""

    leader: str
    """name of the one with the best mean, among those with the most seeds"""
    num_seeds: int
    """seeds of the leader"""
    rivals: Mapping[str, LeadOverRival] = field(default_factory=dict)

    @property
    def ties(self) -> list[str]:
        """Names of those that tie with the leader."""
        return [name for name, lead in self.rivals.items() if lead.is_tie]

    @property
    def ahead(self) -> list[str]:
        """Names of those of fewer seeds whose mean is better."""
        return [name for name, lead in self.rivals.items() if lead.difference.value < 0]

    @property
    def is_won(self) -> bool:
        """True where there are others, and the leader is better than each at LEVEL."""
        return bool(self.rivals) and not self.ties

    @property
    def is_blind(self) -> bool:
        """True where nothing shows how far the lead over one of the others may be chance."""
        return any(rival.is_blind for rival in self.rivals.values())

    @property
    def is_largest(self) -> bool:
        """True where the leader wins, or leads those that nothing shows the chance of a difference to."""
        leads = self.rivals.values()
        return bool(leads) and all(
            not lead.is_tie or (lead.is_blind and lead.difference.value > 0) for lead in leads
        )

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as values of JSON; `p` is corrected for the number of rivals."""
        return {
            "leader": self.leader,
            "level": LEVEL,
            "wins": self.is_won,
            "ties": self.ties,
            "differences": {name: rival_json(lead) for name, lead in self.rivals.items()},
        }

    def describe(self, label: Callable[[str], str] = str) -> str:
        """Return the verdict in a line; `label` returns the text that people know a name by."""
        name = label(self.leader)
        if not self.rivals:
            return f"no winner: {name} alone was measured"
        if self.is_won:
            return f"{name} wins at {LEVEL_TEXT}, {self._basis()}"
        if self.ahead:
            others = join_names([*map(label, self.ahead)])
            lead = f"no winner: {name} leads those with {self.num_seeds} seeds"
            return f"{lead}; with fewer, {others} did better, and would need as many"
        if equal := [other for other, rival in self.rivals.items() if not rival.difference.value]:
            return f"no winner: {join_names([name, *map(label, equal)])} are equal"
        lead = f"no winner at {LEVEL_TEXT}: {name} leads"
        if self.is_blind:
            seeds = ", by one seed" if self.num_seeds == 1 else f", whose {self.num_seeds} seeds are equal"
            return f"{lead}{seeds}: nothing shows the spread over seeds or images"
        return f"{lead}, {join_names([*map(label, self.ties)])} may be as good; {self._remedy()}"

    def _basis(self) -> str:
        """Return what the verdict rests on, in words."""
        differences = [lead.difference for lead in self.rivals.values()]
        images = [f"{differences[0].num_images:,} images"] * all(d.is_paired for d in differences)
        if self.num_seeds == 1:
            return f"over {images[0]}; by one seed, and another may differ"
        return f"over {' and '.join([*images, f'{self.num_seeds} seeds'])}"

    def _remedy(self) -> str:
        """Return about how many seeds or images would tell, in words."""
        tied = [lead.difference for lead in self.rivals.values() if lead.is_tie]
        needs = [evidence_needed(difference, self.num_seeds, len(self.rivals)) for difference in tied]
        seeds, images = (max(column) for column in zip(*needs, strict=True))
        if seeds > MAX_SEEDS or images > MAX_TIMES_IMAGES:
            return "they are too close to tell apart"
        if images:
            others = f" and {math.ceil(seeds)} seeds of each" if seeds else ""
            others = others if tied[0].has_seeds else " or further seeds"
            return f"about {images:,.0f} times as many images{others} would tell"
        return f"about {math.ceil(seeds)} seeds of each would tell"


def rival_json(lead: LeadOverRival) -> dict[str, float | None]:
    """Return a lead as values of JSON; a standard error that is not known, or not finite, is null."""
    error = lead.difference.error
    return {
        "difference": lead.difference.value,
        "error": error if math.isfinite(error) else None,
        "p": lead.probability,
    }


def judge_lead(samples: Mapping[str, SeedStatistics], sign: int) -> Lead:
    """Return the verdict on configurations by name; `sign`: 1 where the largest is the best, or else -1.

    The leader is one of those with the most seeds, since one lucky seed is no better than three.
    """
    most = max(len(sample.by_seed) for sample in samples.values())
    eligible = {name: sample for name, sample in samples.items() if len(sample.by_seed) == most}
    leader = max(eligible, key=lambda name: sign * eligible[name].mean)
    others = {name: sample for name, sample in samples.items() if name != leader}
    spread = SeedSpread.of(samples.values())
    pairs = {name: compare_samples(samples[leader], other, spread) for name, other in others.items()}
    pairs = {name: signed(difference, sign) for name, difference in pairs.items()}
    corrected = correct_by_holm([d.probability if d.value > 0 else 1.0 for d in pairs.values()])
    leads = map(LeadOverRival, pairs.values(), corrected)
    rivals = dict(zip(pairs, leads, strict=True))
    return Lead(leader, most, rivals)


def signed(difference: FigureDifference, sign: int) -> FigureDifference:
    """Return a difference that is positive where the first is better."""
    return FigureDifference(**{**vars(difference), "value": sign * difference.value})


def correct_by_holm(probabilities: Sequence[float]) -> list[float]:
    """Return probabilities corrected for their number, in their order."""
    corrected, largest = [1.0] * len(probabilities), 0.0
    order = sorted(range(len(probabilities)), key=lambda place: probabilities[place])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, probabilities[place] * (len(order) - rank)))
        corrected[place] = largest
    return corrected


def evidence_needed(difference: FigureDifference, num_seeds: int, num_rivals: int) -> tuple[float, float]:
    """Return about how many seeds of each show a difference in POWER of all cases, or else how many images.

    Images count in multiples of those that there are, and are the answer where seeds would not do, or where
    their spread is not known; the other number is 0. Where neither alone would do, both are needed.
    """
    distance = normal_quantile((1 - LEVEL) / 2 / num_rivals) + normal_quantile(1 - POWER)
    wanted = (abs(difference.value) / distance) ** 2
    by_images = difference.by_images if difference.is_paired else 0.0
    by_seeds = difference.by_seeds if difference.has_seeds else 0.0
    if difference.has_seeds and by_images < wanted:
        return max(num_seeds + 1.0, by_seeds * num_seeds / (wanted - by_images)), 0.0
    if by_images and by_seeds < wanted:
        return 0.0, max(2.0, math.ceil(by_images / (wanted - by_seeds)))
    times = math.ceil((by_images + by_seeds) / wanted) if by_images and wanted else math.inf
    return times * num_seeds, times


def join_names(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: the first of them, and the number of others."""
    rest = len(names) - MAX_NAMED_RIVALS
    shown = [*names[:MAX_NAMED_RIVALS], *([f"{rest} others"] if rest > 0 else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
