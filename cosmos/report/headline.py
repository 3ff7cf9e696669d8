"""Headline of a report: a verdict in a sentence, and the figures that a model is judged by."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cosmos.config.figures import (
    EVALUATION,
    GROUP_SCORE,
    IMAGE_TO_TEXT,
    MEAN_IOU,
    MEAN_OVER_KINDS,
    TEXT_TO_IMAGE,
    TOP1,
    Figures,
    repeated_result,
    with_attention,
)
from cosmos.config.number_text import format_share
from cosmos.report.page import Fact, render_section
from cosmos.report.section import ReportSection
from cosmos.run.results import ResultEntry
from cosmos.run.statistics.intervals import LEVEL_TEXT, Interval, interval_of
from cosmos.run.statistics.leads import Lead
from cosmos.run.statistics.seed_statistics import SeedStatistics

CSA_MEAN_IOU, PLAIN_MEAN_IOU = (with_attention(MEAN_IOU, kind).name for kind in ("csa", "plain"))

HEADLINE_TITLES: Mapping[str, Mapping[str, str]] = {
    "retrieval": {
        IMAGE_TO_TEXT.recall(1).name: "image to text R@1",
        TEXT_TO_IMAGE.recall(1).name: "text to image R@1",
    },
    "classification": {TOP1.name: "top-1"},
    "segmentation": {CSA_MEAN_IOU: "mIoU (correlative self-attention)", PLAIN_MEAN_IOU: "mIoU"},
    "perception": {MEAN_OVER_KINDS.name: "composition", GROUP_SCORE.name: "composition, group score"},
}
"""Titles of the metrics of each suite that a model is judged by."""

PREFERRED_METRICS = {PLAIN_MEAN_IOU: CSA_MEAN_IOU, GROUP_SCORE.name: MEAN_OVER_KINDS.name}
"""Metrics that are shown in place of others, where both were measured."""

JUDGED_MODELS = ("teacher", "baseline", "student")
"""Models by which a checkpoint is judged: the first that was measured. Published figures are a teacher's."""


@dataclass(frozen=True)
class HeadlineFigure:
    """Figure that a model is judged by, and what to judge it by."""

    name: str
    """<suite>/<dataset>/<model>/<metric>, or the name of an evaluation while training"""
    sample: SeedStatistics
    interval: Interval | None = None
    chance: float | None = None
    """expected score of guessing"""
    published: float | None = None
    """figure of the published checkpoint that the evaluation names"""
    baseline: SeedStatistics | None = None
    """the same figure of the run that this one is set against"""
    lead: Lead | None = None
    """verdict on both; None where they cannot be compared"""

    @property
    def path(self) -> tuple[str, str, str, str]:
        """Suite, dataset, model and metric."""
        suite, dataset, model, metric = (repeated_result(self.name) or self.name).split("/", 3)
        return suite, dataset, model, metric

    @property
    def title(self) -> str:
        """Metric, for people."""
        suite, _, _, metric = self.path
        return HEADLINE_TITLES[suite][metric]

    @property
    def place(self) -> str:
        """Dataset and model, and the moment where it is one while training."""
        _, dataset, model, _ = self.path
        return ", ".join([dataset, model, *(["while training"] if self.is_meanwhile else [])])

    @property
    def is_meanwhile(self) -> bool:
        """True for an evaluation while training."""
        return self.name.startswith(f"{EVALUATION}/")

    @property
    def is_guess(self) -> bool:
        """True where guessing may do as well."""
        return (
            self.chance is not None
            and (self.interval or Interval(*[self.sample.mean] * 2)).low <= self.chance
        )

    @property
    def advantage(self) -> float:
        """Figure minus the baseline's; NaN without a baseline."""
        return self.sample.mean - self.baseline.mean if self.baseline else math.nan

    @property
    def is_certain(self) -> bool:
        """True where the difference to the baseline is larger than chance would have it."""
        return self.lead is not None and self.lead.is_won


@dataclass(frozen=True)
class Headline:
    """Headline of a report."""

    verdict: str
    figures: Sequence[HeadlineFigure]
    baseline: str = ""
    """label of the run that this one is set against; "" for none"""
    notes: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    """state, date, data and its health"""


@dataclass(frozen=True)
class HeadlineRow:
    """Row of the headline's table."""

    name: str
    place: str
    cells: Sequence[str]


def entry_headlines(
    suite: str, label: str, entry: ResultEntry, published: Figures
) -> Iterator[HeadlineFigure]:
    """Yield the headline figures of an entry of results, which `label` names."""
    measured = [model for model in JUDGED_MODELS if model in entry["models"]]
    for model in measured[:1]:
        figures = entry["models"][model]
        for metric in HEADLINE_TITLES.get(suite, {}):
            if metric in figures and PREFERRED_METRICS.get(metric) not in figures:
                yield HeadlineFigure(
                    f"{suite}/{label}/{model}/{metric}",
                    SeedStatistics.over([figures[metric]]),
                    interval_of(entry["intervals"], model, metric),
                    entry["chance"].get(metric),
                    published.get(metric),
                )


def is_headline_figure(name: str) -> bool:
    """Return True for a result, or an evaluation while training, that a model is judged by."""
    parts = (repeated_result(name) or name).split("/", 3)
    return len(parts) == 4 and parts[3] in HEADLINE_TITLES.get(parts[0], {})


def with_best_model(figures: Sequence[HeadlineFigure]) -> list[HeadlineFigure]:
    """Return figures of the model that is judged alone, of those that several models have."""
    ranks = {model: rank for rank, model in enumerate(JUDGED_MODELS)}
    best: dict[tuple[str, str, str], HeadlineFigure] = {}
    for figure in sorted(figures, key=lambda figure: ranks.get(figure.path[2], len(ranks))):
        suite, dataset, _, metric = figure.path
        best.setdefault((suite, dataset, metric), figure)
    return [figure for figure in figures if figure in best.values()]


def headline_section(headline: Headline) -> ReportSection:
    """Return the section of a headline."""
    columns = {
        "figure": [describe_sample(figure.sample) for figure in headline.figures],
        f"{LEVEL_TEXT} interval": [describe_interval(figure.interval) for figure in headline.figures],
        "guessing": [describe_share(figure.chance) for figure in headline.figures],
        headline.baseline: [describe_baseline(figure) for figure in headline.figures],
        "difference": [describe_difference(figure) for figure in headline.figures],
        "published": [describe_share(figure.published) for figure in headline.figures],
    }
    filled = {heading: cells for heading, cells in columns.items() if any(cells)}
    rows = [
        HeadlineRow(figure.title, figure.place, [cells[place] or "-" for cells in filled.values()])
        for place, figure in enumerate(headline.figures)
    ]
    values: dict[str, Any] = {"headline": headline, "headings": [*filled], "rows": rows}
    return render_section("headline", "Headline", "headline.html", **values)


def describe_sample(sample: SeedStatistics) -> str:
    """Return a share in percent, with its deviation over seeds where there are several."""
    deviation = "" if math.isnan(sample.deviation) else f" ± {format_share(sample.deviation)}"
    return f"{format_share(sample.mean)}{deviation}"


def describe_share(share: float | None) -> str:
    """Return a share in percent; "" for none."""
    return "" if share is None else format_share(share)


def describe_interval(interval: Interval | None) -> str:
    """Return the ends of an interval in percent; "" for none."""
    return f"{format_share(interval.low)} to {format_share(interval.high)}" if interval else ""


def describe_baseline(figure: HeadlineFigure) -> str:
    """Return the baseline's figure; "" for none."""
    return describe_sample(figure.baseline) if figure.baseline else ""


def describe_difference(figure: HeadlineFigure) -> str:
    """Return the difference to the baseline in percentage points; "" without one."""
    if figure.baseline is None:
        return ""
    return f"{describe_points(figure.advantage)}{'' if figure.is_certain else ' (may be chance)'}"


def describe_points(difference: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}" if difference else "0"


def describe_verdict(label: str, figures: Sequence[HeadlineFigure], baseline: str) -> str:
    """Return the verdict on a model in a sentence or two."""
    if not figures:
        return f"{label} has not been measured."
    sentences = (
        describe_quality(label, figures),
        describe_guesses(figures),
        describe_advantages(figures, baseline),
    )
    return " ".join(filter(None, sentences))


def describe_quality(label: str, figures: Sequence[HeadlineFigure]) -> str:
    """Return the first figure, and what guessing has, in a sentence."""
    first = figures[0]
    _, dataset, model, _ = first.path
    interval = f" ({describe_interval(first.interval)})" if first.interval else ""
    moment = " while training" if first.is_meanwhile else ""
    guessing = f"; guessing has {format_share(first.chance)}" if first.chance is not None else ""
    reached = f"{first.title} {describe_sample(first.sample)}{interval} on {dataset}"
    return f"The {model} of {label} has {reached}{moment}{guessing}."


def describe_guesses(figures: Sequence[HeadlineFigure]) -> str:
    """Return the figures that are no better than guessing in a sentence; "" for none."""
    guesses = [f"{figure.title} on {figure.path[1]}" for figure in figures if figure.is_guess]
    return f"No better than guessing: {', '.join(guesses)}." if guesses else ""


def describe_advantages(figures: Sequence[HeadlineFigure], baseline: str) -> str:
    """Return what is better and worse than the baseline in a sentence; "" without one."""
    compared = [figure for figure in figures if figure.baseline]
    if not compared:
        return f"It has no figure in common with {baseline}." if baseline else ""
    certain = [figure for figure in compared if figure.is_certain]
    better = [figure.title for figure in certain if figure.advantage > 0]
    worse = [figure.title for figure in certain if figure.advantage < 0]
    rest = len(compared) - len(certain)
    parts = [
        f"better by {', '.join(better)}" if better else "",
        f"worse by {', '.join(worse)}" if worse else "",
        f"by {rest} of {len(compared)} figures the difference may be chance" if rest else "",
    ]
    return f"Against {baseline}: {'; '.join(filter(None, parts))}."


def with_baseline(figure: HeadlineFigure, baseline: SeedStatistics, lead: Lead | None) -> HeadlineFigure:
    """Return a figure with that of the baseline beside it."""
    return replace(figure, baseline=baseline, lead=lead)
