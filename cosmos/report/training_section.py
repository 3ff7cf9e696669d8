"""Section of a page on a training: its curves, and a few samples as the model got them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cosmos.report.page import data_uri, render_section
from cosmos.report.plotly import PlotlyFigure
from cosmos.report.section import ReportSection
from cosmos.report.training_plots import RunTraining, training_plots


@dataclass(frozen=True)
class SampleViews:
    """Views and captions of a sample, as the model got them."""

    key: str
    global_crops: Sequence[bytes]
    """WebP"""
    local_crops: Sequence[bytes]
    captions: Sequence[str]


@dataclass(frozen=True)
class BatchPictures:
    """Samples of a batch, or the reason why they cannot be shown."""

    samples: Sequence[SampleViews] = ()
    reason: str = ""


@dataclass(frozen=True)
class ShownSample:
    """Sample as the page shows it."""

    key: str
    global_views: Sequence[str]
    """data URIs"""
    local_views: Sequence[str]
    captions: Sequence[str]


def training_section(
    runs: Sequence[RunTraining],
    summary: str,
    remarks: Sequence[str] = (),
    forecasts: Sequence[PlotlyFigure] = (),
) -> ReportSection:
    """Return the section on a run's training, and on that of another beside it; forecasts come first."""
    figures = [*forecasts, *training_plots(runs)]
    values = {"summary": summary, "remarks": remarks, "figures": figures}
    return render_section("training", "How it trained", "training.html", **values)


def batch_section(batch: BatchPictures) -> ReportSection:
    """Return the section on samples of a batch."""
    values = {"samples": [shown_sample(sample) for sample in batch.samples], "reason": batch.reason}
    return render_section("batch", "What a batch looks like", "batch.html", **values)


def shown_sample(sample: SampleViews) -> ShownSample:
    """Return a sample as the page shows it."""
    return ShownSample(
        sample.key, webp_uris(sample.global_crops), webp_uris(sample.local_crops), sample.captions
    )


def webp_uris(pictures: Sequence[bytes]) -> list[str]:
    """Return the data URIs of WebP pictures."""
    return [data_uri(picture, "webp") for picture in pictures]
