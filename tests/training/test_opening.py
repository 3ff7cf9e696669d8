"""Two ranks open a training together."""

import errno
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.distributed.group import ProcessRank, process_group
from cosmos.errors import CosmosError
from cosmos.run.directory import RunDir
from cosmos.training.opening import open_training
from cosmos.training.trainer import Trainer
from tests.forks import run_ranks
from tests.training.examples import (
    LIMIT,
    PLAN,
    make_learner,
    no_figures,
    no_job,
    params,
    random_batch,
    weights,
)


def open_on(process: ProcessRank, run: Path) -> Trainer:
    machine = Machine(data_wait_minutes=0)
    learner = make_learner(params(), machine, process)
    return open_training(RunDir(run), learner, PLAN, machine, no_figures, no_job, LIMIT)


def train_and_resume(rank: int, folder: str) -> None:
    """Train a run to its end, one that goes on from step 3, and open one that the second rank cannot read."""
    mine = [random_batch(seed=step).split(2)[rank] for step in range(6)]
    with process_group("cpu", timedelta(minutes=5)) as process:
        open_on(process, Path(folder) / "whole").train(mine)
        open_on(process, Path(folder) / "parts").train(mine[:3])
        resumed = open_on(process, Path(folder) / "parts")
        assert resumed.step == 3
        resumed.train(mine[3:])
        for number, error in enumerate(UNREADABLE):
            if rank == 1:
                torch.load = Mock(side_effect=error)
            try:
                open_on(process, Path(folder) / "parts")
            except CosmosError as raised:
                file = Path(folder) / f"{rank}-{number}.txt"
                file.write_text(f"{type(raised).__name__} {raised}")


UNREADABLE = (OSError(errno.EIO, "Input/output error"), RuntimeError("Bad CRC-32"))
"""What the second rank meets when it reads what the first has read whole."""


@pytest.mark.slow
def test_ranks_resume_together_and_what_one_cannot_read_is_an_error_on_all(tmp_path: Path) -> None:
    run_ranks(train_and_resume, str(tmp_path))
    last = RunDir(tmp_path / "whole").checkpoint(6).name
    whole, parts = (weights(tmp_path / run / "checkpoints" / last) for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    for number, problem in enumerate(
        ("cannot be read", "damaged here, and whole where the first rank reads it")
    ):
        raised = [(tmp_path / f"{rank}-{number}.txt").read_text() for rank in (0, 1)]
        assert raised[0] == raised[1]
        assert raised[0].startswith("TransientError")
        assert f"step-00000006.pt: {problem}" in raised[0]
        assert "rank 1 on" in raised[0]
