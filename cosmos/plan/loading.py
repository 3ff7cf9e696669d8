"""Loading that a training needs: bytes a second, CPU cores for the views, and whether they keep up."""

from dataclasses import dataclass

from cosmos.plan.workload import GLOBAL_VIEWS, Span, Workload

DECODING = Span(0.73e-3, 1.0e-3)
"""Seconds of a core to decode a JPEG of 500 x 375 pixels. These figures are those of docs/speed.md: of an AMD
EPYC core, and of a slower one."""

CROPPING = Span(1.5e-3 / 155_648, 1.8e-3 / 155_648)
"""Seconds of a core for each pixel of a view that is cut and resized."""

COLOURING = Span(1.5e-3 / 155_648, 1.9e-3 / 155_648)
"""Seconds of a core for each pixel of a view whose colours are computed in a worker."""

CAPTION = Span(0.026e-3, 0.051e-3)
"""Seconds of a core to draw a caption and to make its tokens."""

VIEWS_SOURCE = "docs/speed.md: photographs of 500 x 375 pixels on two kinds of core"


@dataclass(frozen=True)
class LoadingPlan:
    """Loading of a run. Rates are those at which the devices take the samples."""

    view_seconds: Span
    """seconds of a core for the views of a sample"""
    samples_per_second: Span
    """samples that the workers of a rank make in a second"""
    step_seconds: Span
    """seconds in which the workers of a rank make its part of a batch"""
    num_cores: int
    """cores of a rank that make views at a time"""
    source: str


def plan_loading(workload: Workload) -> LoadingPlan:
    """Return the loading of a run, by measured times of a core where there are any."""
    measured = workload.measured
    seconds = measured.view_seconds if measured else view_seconds(workload)
    num_cores = max(1, min(workload.workers, workload.cores_per_rank))
    return LoadingPlan(
        view_seconds=seconds,
        samples_per_second=Span(num_cores / seconds.high, num_cores / seconds.low),
        step_seconds=seconds.times(workload.batch_per_rank / num_cores),
        num_cores=num_cores,
        source=measured.source if measured else VIEWS_SOURCE,
    )


def view_seconds(workload: Workload) -> Span:
    """Return the seconds of a core for the views of a sample: decoding, crops, colours, captions."""
    views = workload.params.views
    num_local = workload.params.num_local_crops
    pixels = GLOBAL_VIEWS * views.image_size**2 + num_local * views.local_size**2
    crops = CROPPING if workload.augments_on_device else CROPPING.plus(COLOURING)
    return DECODING.plus(crops.times(pixels)).plus(CAPTION.times(views.num_captions))
