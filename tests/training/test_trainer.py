"""The loop around real steps on random batches."""

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.data.batch import Batch
from cosmos.data.shards.damage import SampleDamage
from cosmos.distributed.group import process_group
from cosmos.errors import (
    CosmosError,
    DivergedError,
    Interrupted,
    OutOfMemoryError,
    SupersededError,
)
from cosmos.model import checkpoints
from cosmos.model.cosmos import Cosmos
from cosmos.report.step_timing import RunTiming
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.metrics import read_metrics
from cosmos.run.step_trace import StepTrace
from cosmos.training.opening import open_training
from cosmos.training.step_plan import StepPlan
from cosmos.training.trainer import ModelEvaluation
from tests.forks import run_ranks
from tests.training.examples import (
    LIMIT,
    PLAN,
    batches,
    make_learner,
    make_trainer,
    no_figures,
    no_job,
    params,
    random_batch,
    weights,
)


def signalled(step: int, number: signal.Signals) -> Iterator[Batch]:
    """Batches; the signal comes in the step after `step` steps."""
    yield from batches(0, step + 1)
    os.kill(os.getpid(), number)
    yield from batches(step + 1)


class Killed(BaseException):
    """Ends a run where it stands: nothing in the loop catches it."""


def killed_in(evaluation: int) -> ModelEvaluation:
    """An evaluation that ends the run when it is called for the time of this number."""
    calls: list[object] = []

    def evaluate(models: dict[str, Cosmos]) -> dict[str, float]:
        calls.append(models)
        if len(calls) == evaluation:
            raise Killed
        return no_figures(models)

    return evaluate


def logged(folder: Path) -> list[tuple[int, str]]:
    """Steps and kinds of the lines of metrics, in their order."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [(line["step"], "evaluation" if "evaluation" in line else "loss") for line in lines]


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
    expected |= {
        "grad_norm",
        "teacher_distance",
        "samples_per_second",
        "data_wait",
        "samples",
        "device_memory",
        "flops_per_sample",
    }
    assert expected <= lines[0].keys()
    assert "mfu" not in lines[0]  # the peak of a CPU is not known


def test_student_and_teacher_are_evaluated_every_so_many_epochs(tmp_path: Path) -> None:
    make_trainer(tmp_path, params(evaluate_every_epochs=1)).train(batches(0))
    found = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "evaluation" in line]
    assert [line["epoch"] for line in found] == [1, 2]
    assert found[0]["evaluation"].keys() == {"student/scale", "teacher/scale"}


@pytest.mark.parametrize(("evaluation", "step"), [(1, 3), (2, 6)])
def test_killed_in_an_evaluation_a_run_loses_no_step_and_evaluates_once(
    tmp_path: Path, evaluation: int, step: int
) -> None:
    p, machine = params(evaluate_every_epochs=1), Machine()
    whole = weights(make_trainer(tmp_path / "whole", p, machine).train(batches(0)))
    with pytest.raises(Killed):
        make_trainer(tmp_path / "killed", p, machine, killed_in(evaluation)).train(batches(0))
    again = make_trainer(tmp_path / "killed", p, machine)
    assert (again.step, again.is_complete) == (step, False)
    resumed = weights(again.train(batches(step)))
    assert again.is_complete
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")
    assert logged(tmp_path / "whole").count((step, "evaluation")) == 1
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_killed_after_an_evaluation_a_run_does_not_evaluate_again(tmp_path: Path) -> None:
    p = params(evaluate_every_epochs=1)
    make_trainer(tmp_path, p, Machine()).train(batches(0, 3))
    again = make_trainer(tmp_path, p, Machine(), killed_in(1))
    with pytest.raises(Killed):
        again.train(batches(3))
    assert logged(tmp_path) == [
        *((s, "loss") for s in (1, 2, 3)),
        (3, "evaluation"),
        *((s, "loss") for s in (4, 5, 6)),
    ]


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_run_that_pauses_at_rungs_ends_as_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, every: int, micro_batches: int
) -> None:
    p = params(evaluate_every_epochs=every, epochs=3, log_every_steps=2)
    machine = Machine(checkpoint_every_steps=4, keep_checkpoints=1, micro_batches=micro_batches)
    whole = make_trainer(tmp_path / "whole", p, machine, plan=StepPlan.of(3, 3))
    expected = checkpoints.read_checkpoint(whole.train(batches(0, 9)))
    seconds = list[float]()
    for until, start, end in ((1, 0, 3), (2, 3, 6), (2, 6, 6), (0, 6, 9)):
        trainer = make_trainer(tmp_path / "parts", p, machine, plan=StepPlan.of(3, 3, until))
        assert (trainer.step, trainer.is_complete) == (start, start == end)
        seconds.append(trainer.state.counters.device_seconds)
        path = trainer.train(batches(start, end))
        assert trainer.is_complete
        assert [path] == trainer.run.saved_checkpoints
    saved = checkpoints.read_checkpoint(path)
    for part in ("student", "teacher"):
        assert is_same(getattr(expected, part), getattr(saved, part))
    others = {key for key in expected.extra if not is_same(expected.extra[key], saved.extra[key])}
    assert others == {"name", "progress"}  # that of the run, and times
    assert (logged(tmp_path / "parts"), seconds[0]) == (logged(tmp_path / "whole"), 0)
    assert 0 < seconds[1] < seconds[2] == seconds[3] < saved.extra["progress"]["device_seconds"]
    whole_lines, lines = (
        [
            {key: line[key] for key in ("step", "loss", "grad_norm", "learning_rate") if key in line}
            for line in read
        ]
        for read in (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    )
    assert whole_lines == lines


def is_same(value: object, other: object) -> bool:
    """Return True for the same tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(value, other)
    if isinstance(value, dict):
        return (
            isinstance(other, dict)
            and value.keys() == other.keys()
            and all(is_same(value[key], other[key]) for key in value)
        )
    if isinstance(value, list | tuple):
        return isinstance(other, type(value)) and all(map(is_same, value, other))
    return value == other


def slow_batches(start: int, stop: int = 6) -> Iterator[Batch]:
    """Batches, each after a wait of 0.05 s."""
    for batch in batches(start, stop):
        time.sleep(0.05)
        yield batch


def test_time_of_all_steps_is_counted_once_and_that_of_evaluations_is_not(tmp_path: Path) -> None:
    def slow_evaluation(models: dict[str, Cosmos]) -> dict[str, float]:
        time.sleep(0.2)
        return no_figures(models)

    start = time.perf_counter()
    p = params(evaluate_every_epochs=1, log_every_steps=4)
    make_trainer(tmp_path, p, Machine(), slow_evaluation).train(slow_batches(0))
    passed = time.perf_counter() - start
    last = read_metrics(tmp_path / "metrics.jsonl")[-2]
    assert (last["step"], last["seconds"] >= 6 * 0.05) == (6, True)
    assert last["seconds"] <= passed - 2 * 0.2
    assert 2 / last["samples_per_second"] * 8 >= 0.05  # two steps, of which the last one fetches nothing


def test_time_between_the_last_line_and_a_save_is_kept_by_a_resume(tmp_path: Path) -> None:
    p = params(log_every_steps=100)
    make_trainer(tmp_path, p).train(slow_batches(0, 5))
    resumed = make_trainer(tmp_path, p)
    assert resumed.state.counters.seconds >= 5 * 0.05
    resumed.train(slow_batches(5))
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert (line["step"], line["seconds"] >= 6 * 0.05) == (6, True)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    make_trainer(tmp_path, params(evaluate_every_epochs=1)).train(batches(0))
    assert make_trainer(tmp_path, params(evaluate_every_epochs=1)).is_complete


@pytest.mark.parametrize("step", [3, 6])
def test_a_warning_in_the_step_before_an_evaluation_leaves_without_it(
    tmp_path: Path, heeded: None, step: int
) -> None:
    p = params(evaluate_every_epochs=step // PLAN.steps_per_epoch)
    with pytest.raises(Interrupted, match=f"stopped after step {step}"):
        make_trainer(tmp_path, p).train(signalled(step - 1, signal.SIGUSR2))
    assert (step, "evaluation") not in logged(tmp_path)
    again = make_trainer(tmp_path, p)
    assert again.step == step
    again.train(batches(step))
    assert logged(tmp_path).count((step, "evaluation")) == 1


def test_a_warning_in_an_evaluation_is_obeyed_at_once(tmp_path: Path, heeded: None) -> None:
    def warned(models: dict[str, Cosmos]) -> dict[str, float]:
        assert (tmp_path / "checkpoints" / "step-00000003.pt").exists()
        os.kill(os.getpid(), signal.SIGUSR2)
        raise AssertionError("went on")

    with pytest.raises(Interrupted, match="stopped in the evaluation after step 3") as stop:
        make_trainer(tmp_path, params(evaluate_every_epochs=1), Machine(), warned).train(batches(0))
    assert stop.value.signal == signal.SIGUSR2


def test_another_that_takes_over_stops_this_one_at_its_next_line(tmp_path: Path) -> None:
    def taken_over() -> Iterator[Batch]:
        for step, batch in enumerate(batches(0)):
            if step == 4:
                Lease.take(RunDir(tmp_path))
            yield batch

    with pytest.raises(SupersededError, match="took over this run"):
        make_trainer(tmp_path, params()).train(taken_over())
    assert logged(tmp_path) == [(1, "loss"), (2, "loss"), (3, "loss")]
    assert make_trainer(tmp_path, params()).step == 2


def test_lines_of_another_that_took_over_before_the_first_step_stay(tmp_path: Path) -> None:
    slow = make_trainer(tmp_path, params())
    make_trainer(tmp_path, params()).train(batches(0, 2))
    with pytest.raises(SupersededError, match="took over this run"):
        slow.train(batches(0))
    assert logged(tmp_path) == [(1, "loss"), (2, "loss")]


def test_a_checkpoint_that_another_overtakes_as_it_is_written_never_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path, params())
    trainer.train(batches(0, 2))
    before = sorted((tmp_path / "checkpoints").iterdir())
    save = torch.save

    def slow_save(content: object, file: BinaryIO) -> None:
        save(content, file)
        Lease.take(RunDir(tmp_path))

    monkeypatch.setattr(torch, "save", slow_save)
    trainer.state.step = 3
    with pytest.raises(SupersededError):
        trainer.save()
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


def train_one_of_two(rank: int, folder: str) -> None:
    """A rank of a run that another takes over in its third step; what it raised is left behind."""
    run, p, machine = RunDir(Path(folder) / "run"), params(log_every_steps=2), Machine()
    with process_group("cpu", timedelta(minutes=5)) as process:
        learner = make_learner(p, machine, process)
        damaged = (SampleDamage(3, "sample 3"), SampleDamage(4, "sample 4"))

        def mine() -> Iterator[Batch]:
            for step, batch in enumerate(batches(0)):
                if step == 3 and process.is_first:
                    Lease.take(run)
                time.sleep(0.2 * rank)
                yield replace(batch.split(2)[rank], damage=damaged[: 1 + rank])

        try:
            open_training(run, learner, PLAN, machine, no_figures, no_job, LIMIT).train(mine())
        except CosmosError as error:
            (Path(folder) / f"{rank}.txt").write_text(f"{type(error).__name__} {time.monotonic()}")


@pytest.mark.slow
def test_all_ranks_stop_together_when_another_takes_over(tmp_path: Path) -> None:
    run_ranks(train_one_of_two, str(tmp_path))
    said = [(tmp_path / f"{rank}.txt").read_text().split() for rank in (0, 1)]
    assert [name for name, _ in said] == ["SupersededError", "SupersededError"]
    assert abs(float(said[0][1]) - float(said[1][1])) < 5
    (line,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert (line["step"], line["replaced_samples"]) == (2, 2 * (1 + 2))
    assert line["device_seconds"] == pytest.approx(2 * line["seconds"])
    assert isinstance(line["device_memory"], int)
    assert (line["damaged_samples"], line["samples_used"], line["samples_listed"]) == (2, 28, 30)
    (session,) = StepTrace.of(tmp_path / "run" / "timing.jsonl").sessions
    (stretch,) = session.stretches
    assert (stretch.num_ranks, len(session.session.hosts), stretch.steps) == (2, 2, 2)
    assert {"forward", "loss", "backward", "gradients", "agreement", "update"} <= stretch.seconds.keys()
    assert all(min(stretch.seconds[part]) > 0 for part in ("forward", "gradients", "agreement"))
    timing = RunTiming.of(StepTrace.of(tmp_path / "run" / "timing.jsonl"))
    assert timing
    assert timing.straggler
    assert (timing.straggler.rank.rank, str(timing.straggler.part)) == (1, "data")


def test_the_clock_of_the_machine_makes_checkpoints_due(tmp_path: Path) -> None:
    make_trainer(tmp_path, params(), Machine(checkpoint_every_minutes=1e-9, keep_checkpoints=9)).train(
        batches(0)
    )
    saved = sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*"))
    assert saved == [f"step-{step:08}.pt" for step in range(1, 7)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_saves_at_the_next_step_and_leaves(
    tmp_path: Path, heeded: None, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted, match="stopped after step 3") as stop:
        make_trainer(tmp_path, params()).train(signalled(2, number))
    assert stop.value.signal == number
    assert make_trainer(tmp_path, params()).step == 3
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_gpu_without_memory_for_a_step_names_what_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    trainer = make_trainer(tmp_path, params())
    monkeypatch.setattr(trainer.learner, "backward", fail)
    with pytest.raises(OutOfMemoryError, match=r"COSMOS_MICRO_BATCHES=2 .*pretrain\.batch_size"):
        trainer.train(batches(0))


def spoilt(batch: Batch) -> Batch:
    return replace(batch, global_crops=batch.global_crops * math.nan)


def test_a_loss_that_is_not_finite_stops_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    stream = [random_batch(seed=0), random_batch(seed=1), spoilt(random_batch())]
    with pytest.raises(DivergedError, match=r"step 3 .*step-00000002\.pt"):
        make_trainer(tmp_path, params()).train(stream)


def test_a_bounded_number_of_bad_steps_in_a_row_is_skipped(tmp_path: Path) -> None:
    good, bad = random_batch(), spoilt(random_batch())
    make_trainer(tmp_path / "a", params(max_nonfinite_steps=1)).train([bad, good, bad, good, good, good])
    assert read_metrics(tmp_path / "a" / "metrics.jsonl")[-1]["skipped_steps"] == 2
    with pytest.raises(DivergedError):
        make_trainer(tmp_path / "b", params(max_nonfinite_steps=1)).train([good, bad, bad])


def test_resuming_another_architecture_names_the_keys(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0))
    other = params()
    wider = other.model.inline.model_copy(update={"embed_dim": 32})
    other = other.model_copy(update={"model": other.model.model_copy(update={"inline": wider})})
    with pytest.raises(
        ValueError, match=r"step-00000006\.pt.*other shapes: .*model\.inline\.embed_dim 16 \(not 32\)"
    ):
        make_trainer(tmp_path, other)
