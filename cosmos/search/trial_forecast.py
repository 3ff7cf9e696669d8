"""Forecast of trials before they run: the time that one takes, and the number of those that do not fit."""

from collections.abc import Iterator
from dataclasses import dataclass

from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_duration
from cosmos.config.sweep import Sweep
from cosmos.errors import InputError
from cosmos.plan.memory import step_memory
from cosmos.plan.run_plan import estimate_device_seconds
from cosmos.plan.workload import Span
from cosmos.search.study import draw_params
from cosmos.search.trial_fit import requested_gpu, trial_workload

NUM_DRAWS = 16
"""Trials that are drawn at random to know what those of a space take."""


@dataclass(frozen=True)
class TrialForecast:
    """Forecast of the trials of a sweep, by some that were drawn."""

    gpu: Gpu
    num_gpus: int
    """GPUs of a trial"""
    device_seconds: Span | None
    """time of a trial times its GPUs; None where none fits, and where the GPU's peak is not known"""
    num_drawn: int
    num_unfit: int
    """number of those drawn that need more memory than the GPU has"""

    def describe(self, num_trials: int) -> str:
        """Return a line on the time of a trial and of all, and on those that do not fit."""
        return "; ".join([*self._times(num_trials), *self._unfit()])

    def _times(self, num_trials: int) -> Iterator[str]:
        if self.device_seconds:
            clock = self.device_seconds.times(1 / self.num_gpus)
            hours = self.device_seconds.times(num_trials / 3600)
            yield f"a trial takes {format_duration(clock.low)} to {format_duration(clock.high)}"
            yield f"{num_trials} trials {hours.low:,.0f} to {hours.high:,.0f} hours of {self.gpu.kind}"

    def _unfit(self) -> Iterator[str]:
        if self.num_unfit:
            rest = "such trials fail without being submitted"
            drawn = f"{self.num_unfit} of {self.num_drawn} that were drawn"
            yield f"{drawn} need more memory than {self.gpu.kind} has: {rest}"


def describe_forecast(sweep: Sweep, machine: Machine, num_trials: int) -> str:
    """Return a line on the time that trials of a sweep take; "" where no kind of GPU is stated."""
    request = machine.slurm.over(sweep.needs)
    gpu = requested_gpu(request, machine)
    if gpu is None:
        return ""
    try:
        return forecast_trials(sweep, machine, request, gpu).describe(num_trials)
    except InputError as error:
        return f"time of a trial: not known ({error})"


def forecast_trials(sweep: Sweep, machine: Machine, request: JobRequest, gpu: Gpu) -> TrialForecast:
    """Return the forecast by NUM_DRAWS trials. Raises InputError where the size of the data is not known."""
    trials = draw_params(sweep, NUM_DRAWS)
    drawn = [trial_workload(params, machine, request, gpu, sweep.samples) for params in trials]
    fitting = [workload for workload in drawn if step_memory(workload).fits(gpu)]
    estimates = [estimate for workload in fitting if (estimate := estimate_device_seconds(workload))]
    seconds = None
    if estimates:
        seconds = Span(min(each.low for each in estimates), max(each.high for each in estimates))
    return TrialForecast(gpu, request.num_ranks, seconds, len(drawn), len(drawn) - len(fitting))
