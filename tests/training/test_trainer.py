"""The loop around real steps on random batches."""

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos.data.batch import Batch
from cosmos.machine import Machine
from cosmos.model import checkpoints
from cosmos.model.cosmos import Cosmos
from cosmos.params import Params, PretrainParams
from cosmos.rundir import Interrupted, RunDir
from cosmos.tracking import read_metrics
from cosmos.training import checkpoint
from cosmos.training.step import Learner
from cosmos.training.trainer import Plan, Trainer
from tests.training.test_step import CPU, random_batch, tiny_params

PLAN = Plan(steps_per_epoch=3, total_steps=6)


def params(**pretrain: object) -> Params:
    values = {"epochs": 2, "batch_size": 8, "log_every_steps": 1, "warmup_steps": 2, **pretrain}
    return tiny_params(PretrainParams.model_validate(values))


def no_figures(models: dict[str, Cosmos]) -> dict[str, float]:
    return {f"{name}/scale": float(model.logit_scale.detach()) for name, model in models.items()}


def make_trainer(folder: Path, p: Params, machine: Machine | None = None) -> Trainer:
    machine = machine or Machine(checkpoint_every_steps=2)
    return Trainer(RunDir(folder), p, machine, Learner(p, machine, CPU), PLAN, no_figures)


def batches(start: int, stop: int = 6) -> Iterator[Batch]:
    return (random_batch(seed=step) for step in range(start, stop))


def weights(path: Path) -> dict[str, torch.Tensor]:
    saved = checkpoints.read(path)
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}


def test_a_run_that_stops_and_resumes_ends_in_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    whole = weights(make_trainer(tmp_path / "whole", params()).train(batches(0)))
    make_trainer(tmp_path / "parts", params()).train(batches(0, 3))
    resumed = make_trainer(tmp_path / "parts", params())
    assert resumed.step == 3
    parts = weights(resumed.train(batches(3)))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_every_step_is_logged_once_with_what_people_compare(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0, 5))
    (tmp_path / "checkpoints" / "step-00000005.pt").unlink()  # as if killed after step 4 was saved
    make_trainer(tmp_path, params()).train(batches(4))
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    expected = {"contrastive", "distill", "distill_image_to_text", "logit_scale", "learning_rate", "momentum"}
    expected |= {"grad_norm", "teacher_distance", "samples_per_second", "data_wait", "samples"}
    assert expected <= lines[0].keys()


def test_student_and_teacher_are_evaluated_every_so_many_epochs(tmp_path: Path) -> None:
    make_trainer(tmp_path, params(evaluate_every_epochs=1)).train(batches(0))
    found = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "evaluation" in line]
    assert [line["epoch"] for line in found] == [1, 2]
    assert found[0]["evaluation"].keys() == {"student/scale", "teacher/scale"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_saves_at_the_next_step_and_leaves(tmp_path: Path, number: signal.Signals) -> None:
    def signalled() -> Iterator[Batch]:
        for step, batch in enumerate(batches(0)):
            if step == 2:
                os.kill(os.getpid(), number)
            yield batch

    with pytest.raises(Interrupted, match="stopped after step 3"):
        make_trainer(tmp_path, params()).train(signalled())
    assert make_trainer(tmp_path, params()).step == 3
    assert signal.getsignal(number) is not None


def test_old_checkpoints_go_and_the_pointer_names_the_newest(tmp_path: Path) -> None:
    machine = Machine(checkpoint_every_steps=1, keep_checkpoints=2)
    make_trainer(tmp_path, params(), machine).train(batches(0))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest", "step-00000005.pt", "step-00000006.pt"]
    assert (tmp_path / "checkpoints" / "latest").read_text().strip() == "step-00000006.pt"


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    (tmp_path / "checkpoints" / "step-00000006.pt").write_bytes(b"half")
    assert make_trainer(tmp_path, params()).step == 4


def spoilt(batch: Batch) -> Batch:
    return replace(batch, global_crops=batch.global_crops * math.nan)


def test_a_loss_that_is_not_finite_stops_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    stream = [random_batch(seed=0), random_batch(seed=1), spoilt(random_batch())]
    with pytest.raises(FloatingPointError, match=r"step 3 .*step-00000002\.pt"):
        make_trainer(tmp_path, params()).train(stream)


def test_a_bounded_number_of_bad_steps_in_a_row_is_skipped(tmp_path: Path) -> None:
    good, bad = random_batch(), spoilt(random_batch())
    make_trainer(tmp_path / "a", params(max_nonfinite_steps=1)).train([bad, good, bad, good, good, good])
    assert read_metrics(tmp_path / "a" / "metrics.jsonl")[-1]["skipped_steps"] == 2
    with pytest.raises(FloatingPointError):
        make_trainer(tmp_path / "b", params(max_nonfinite_steps=1)).train([good, bad, bad])


def test_resuming_another_architecture_names_the_keys(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    other = params()
    wider = other.model.inline.model_copy(update={"embed_dim": 32})
    other = other.model_copy(update={"model": other.model.model_copy(update={"inline": wider})})
    with pytest.raises(ValueError, match=r"step-00000006\.pt.*other shapes: .*visual\.proj"):
        make_trainer(tmp_path, other)


def test_the_optimiser_and_random_state_come_back(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, params())
    trainer.train(batches(0))
    expected = torch.rand(3)
    torch.manual_seed(123)
    found = checkpoint.latest(RunDir(tmp_path))
    assert found is not None
    checkpoint.resume(trainer.learner, found)
    assert torch.equal(torch.rand(3), expected)
