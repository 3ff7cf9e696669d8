"""Time of the demo's step on two cores, alone and beside one busy process: ours, and libgomp as it is.

Threads of torch wait for each other at barriers. Three ways to wait run in turns, in processes of
their own. Seconds are medians over the turns, of wall time: nothing else should run meanwhile.

    python benchmarks/busy.py [--turns 5] [--steps 5] [--json]
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from rows import Row, benchmark_parser, print_rows
from step import random_batch

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.distributed.group import ProcessRank
from cosmos.distributed.threads import WATCH_SECONDS, WAYS_TO_WAIT, computing_threads
from cosmos.model.checkpoints import ModelConfig
from cosmos.training.step import Learner

CORES = 2
WAYS: Mapping[str, Mapping[str, str]] = {
    "libgomp": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "ours": {},
}
"""Ways to wait, by what the environment says: libgomp's default, asleep at once, what suits at the moment."""

BUSY = "while True: pass"
SETTLING_SECONDS = 3 * WATCH_SECONDS
"""Time of steps before those that are measured, in which ours notices what else runs."""


def step_when_told() -> None:
    """Read numbers of steps, take so many, and print their seconds."""
    torch.manual_seed(0)
    params = Params()
    learner = Learner(
        ModelConfig.of(params), params.pretrain, Machine(), ProcessRank(0, 1, torch.device("cpu"))
    )
    batch = random_batch(params, params.pretrain.batch_size)
    with computing_threads(CORES):
        for line in sys.stdin:
            began = time.perf_counter()
            for _ in range(int(line)):
                learner.step(batch, 1e-4, 0.99)
            print((time.perf_counter() - began) / int(line), flush=True)


class Stepper:
    """Process that takes steps when it is told to."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        kept = {
            key: value for key, value in os.environ.items() if key not in (*WAYS_TO_WAIT, "OMP_NUM_THREADS")
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--only"],
            env={**kept, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, steps: int) -> float:
        """Return the seconds of each of so many steps."""
        begun = time.monotonic()
        while time.monotonic() < begun + SETTLING_SECONDS:
            self._take(1)
        return self._take(steps)

    def _take(self, steps: int) -> float:
        assert self.process.stdin
        assert self.process.stdout
        print(steps, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def busy_process() -> Iterator[None]:
    """Run a process that always computes."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(turns: int, steps: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of a step, by way to wait, alone and beside a busy process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    alone: dict[str, list[float]] = {way: [] for way in WAYS}
    beside: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        steppers = {way: Stepper(settings) for way, settings in WAYS.items()}
        for stepper in steppers.values():
            stack.callback(stepper.close)
            stepper.seconds(1)  # the first steps set up
        for _ in range(turns):
            for way, stepper in steppers.items():
                alone[way].append(stepper.seconds(steps))
            with busy_process():
                for way, stepper in steppers.items():
                    beside[way].append(stepper.seconds(steps))
    return {
        way: {"alone": statistics.median(alone[way]), "beside": statistics.median(beside[way])}
        for way in WAYS
    }


def table_rows(seconds: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return the rows: alone, the straightforward way is the best of all."""
    plain, ours = seconds["libgomp"], seconds["ours"]
    best = min(of_way["alone"] for of_way in seconds.values())
    slowed = {way: seconds[way]["beside"] / seconds[way]["alone"] for way in ("libgomp", "ours")}
    goal = 2 / slowed["libgomp"]
    share = "of two cores, the busy process gets a third: 1.5 times the time alone"
    return [
        Row("demo's step alone, best way to wait", "s", best, ours["alone"], 1.05),
        Row("demo's step beside a busy process", "s", plain["beside"], ours["beside"], None, share),
        Row("the same over its time alone", "times", slowed["libgomp"], slowed["ours"], goal, share),
    ]


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", action="store_true", help="take steps when told to, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        step_when_told()
        return
    print_rows(table_rows(measure(arguments.turns, arguments.steps)), arguments.json)


if __name__ == "__main__":
    main()
