"""Time that the clock of a step's parts takes, beside the step itself, of the demo's model on this machine.

Steps and turns of the clock are measured in turns, as a step has them; seconds are medians. A line of metrics
adds the quantiles of the newest steps, which are measured as well, for one step of ten.

    python benchmarks/timing.py [--turns 10] [--json]
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rows import Row, benchmark_parser, print_rows
from step import random_batch

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.training_parts import TrainingPart
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.training.part_times import NEWEST_STEPS
from cosmos.training.step import Learner
from cosmos.training.step_parts import HostStamps, StepParts

TURNS: tuple[TrainingPart, ...] = (
    *(
        "transfer",
        "forward",
        "forward",
        "loss",
        "backward",
        "update",
        "data",
        "transfer",
        "agreement",
        "update",
    ),
)
"""Parts that a step turns to."""

REPEATS = 1000
STEPS_PER_LINE = 10


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def turn_through(parts: StepParts) -> None:
    """Turn to the parts of REPEATS steps, with a line of metrics after every ten of them."""
    for step in range(REPEATS):
        for part in TURNS:
            with parts.timed(part):
                pass
        parts.end_step()
        if step % STEPS_PER_LINE == 0:
            parts.times.finish_stretch().as_row()


def describe_rows(turns: int) -> list[Row]:
    params = Params()
    learner = Learner(
        ModelConfig.of(params), params.pretrain, Machine(), ProcessRank(0, 1, torch.device("cpu"))
    )
    batch, parts = random_batch(params, params.pretrain.batch_size), StepParts(HostStamps())
    for _ in range(NEWEST_STEPS):
        parts.end_step()
    steps, clocks = [], []
    for _ in range(turns):
        steps.append(seconds_of(lambda: learner.step(batch, 1e-4, 0.99)))
        clocks.append(seconds_of(lambda: turn_through(parts)) / REPEATS)
    step, clock = statistics.median(steps), statistics.median(clocks)
    return [Row("clock of a step's parts, beside the demo's step", "s", step, clock, 0.001)]


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    print_rows(describe_rows(options.turns), options.json)


if __name__ == "__main__":
    main()
