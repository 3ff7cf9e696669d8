"""Time that training stands still at a save: ours and the straightforward way, on the disk of a folder.

The straightforward one saves student, teacher and optimiser in the loop, and waits until they are on disk.
Both make the same file, which is checked. The time in which as much memory is copied is the limit of ours.

    python benchmarks/saving.py [--architecture ViT-B-16] [--repeats 3] [--folder .] [--json]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rows import Row, benchmark_parser, print_rows

from cosmos.config.machine import Machine
from cosmos.config.params import ModelParams, Params
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training.checkpoint import Retention, training_content
from cosmos.training.progress import TrainingState
from cosmos.training.saving import CheckpointWriter
from cosmos.training.step import Learner


def make_learner(architecture: str) -> Learner:
    """Return a learner whose optimiser has moments for every weight."""
    params = Params(model=ModelParams(architecture=architecture))
    process = ProcessRank(0, 1, torch.device("cpu"))
    learner = Learner(ModelConfig.of(params), params.pretrain, Machine(), process)
    for parameter in learner.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return learner


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def straightforward(content: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def copied_alone(learner: Learner) -> float:
    """Return the seconds in which as much memory as a checkpoint has is copied."""
    size = sum(value.nbytes for value in learner.student.parameters())
    source, target = torch.zeros(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)
    return 4 * statistics.median(seconds(lambda: target.copy_(source)) for _ in range(5))


def measure(learner: Learner, folder: Path, repeats: int) -> dict[str, float]:
    run = RunDir(folder / "run")
    writer = CheckpointWriter(Lease.take(run), Retention(1), learner.process.device)
    writer.prepare(training_content(learner, TrainingState(), 0, run, {}))  # as after a first step
    writer.finish()
    plain = folder / "plain.pt"
    times: dict[str, list[float]] = {"straightforward": [], "ours": [], "written": []}
    for step in range(1, repeats + 1):
        content = training_content(learner, TrainingState(step), 0, run, {})
        times["straightforward"].append(seconds(partial(straightforward, content, plain)))
        times["ours"].append(seconds(partial(writer.begin, content)))
        times["written"].append(seconds(writer.finish))
        if step == 1 and plain.read_bytes() != run.checkpoint(step).read_bytes():
            sys.exit("the two files differ")
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "gigabytes": plain.stat().st_size / 1e9, "limit": copied_alone(learner)}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--architecture", default="ViT-B-16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(), help="folder on the disk to write to")
    arguments = parser.parse_args()
    learner = make_learner(arguments.architecture)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(learner, Path(folder), arguments.repeats)
    limit = (
        f"a copy of {figures['gigabytes']:.1f} GB in {figures['limit']:.2f} s; "
        f"the thread writes for {figures['written']:.1f} s"
    )
    row = Row(
        f"training that stands still at a save, {arguments.architecture}",
        "s",
        figures["straightforward"],
        figures["ours"],
        goal=0.1,
        limit=limit,
    )
    print_rows([row], arguments.json)


if __name__ == "__main__":
    main()
