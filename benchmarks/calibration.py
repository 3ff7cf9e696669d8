"""Time of a step as planned after a calibration, beside that of real steps of a whole batch on this CPU.

Calibrations and real steps take turns, since the speed of a machine changes from minute to minute, and each
calibration is compared with the steps around it. Figures are of the median ratio. Shapes are those of
benchmarks/plan.py; a calibration takes steps on a part of a batch where the batch takes longer than a second.

    python benchmarks/calibration.py [--turns 5] [--shapes demo small] [--json]
"""

import statistics
import sys
import time
from dataclasses import replace

from plan import SHAPES, make_batch, take_steps, workload_of
from rows import Row, benchmark_parser, print_rows

from cosmos.config.machine import Machine
from cosmos.plan import calibration
from cosmos.plan.compute import sample_flops
from cosmos.plan.pace import arithmetic_seconds
from cosmos.plan.workload import Workload

LONGEST_STEP = 1.0
"""Seconds of a calibration's step: less than those of most shapes, so that these are computed from a part."""


def say(text: str) -> None:
    print(f"benchmarks/calibration.py: {text}", file=sys.stderr, flush=True)


def planned_seconds(workload: Workload) -> float:
    """Return the seconds of a step by a calibration, in the middle of its interval."""
    measured = calibration.measure_arithmetic(workload, Machine())
    seconds = arithmetic_seconds(replace(workload, measured=measured), sample_flops(workload))
    assert seconds
    return (seconds.low + seconds.high) / 2


def compare(shape: str, turns: int) -> Row:
    """Return the row of a shape."""
    workload = workload_of(shape)
    learner = take_steps(workload, 2)
    batch = make_batch(workload.params, workload.data.caption_lengths[0])

    def real_seconds() -> float:
        began = time.perf_counter()
        learner.step(batch, 1e-3, 0.99)
        return time.perf_counter() - began

    real, ratios = [real_seconds()], []
    for turn in range(turns):
        planned = planned_seconds(workload)
        real.append(real_seconds())
        ratios.append(planned / statistics.fmean(real[-2:]))
        say(f"{shape}, turn {turn + 1} of {turns}: planned / measured {ratios[-1]:.2f}")
    seconds = statistics.median(real)
    return Row(f"planned time of a step, {shape}", "s", seconds, seconds * statistics.median(ratios), 1.2)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[*SHAPES])
    options = parser.parse_args()
    calibration.STEP_SECONDS = LONGEST_STEP
    print_rows([compare(shape, options.turns) for shape in options.shapes], options.json)


if __name__ == "__main__":
    main()
