"""Evaluations beside training, by jobs in the queue's own thread."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.distributed.group import process_group
from cosmos.errors import InputError, SupersededError, TransientError
from cosmos.launch.submission import JobSpec, read_submission
from cosmos.model.checkpoints import read_checkpoint
from cosmos.run import provenance
from cosmos.run.directory import RunDir, step_of_checkpoint
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsLines, MetricsWriter, read_metrics
from cosmos.training import evaluation_queue
from cosmos.training.evaluation_queue import EvaluationQueue, StepFigures
from cosmos.training.opening import open_training
from tests.crash_points import killed_at_each_operation
from tests.forks import run_ranks
from tests.other_users import BOB, acting_as, only_root_is_others, shared_folder
from tests.training.examples import (
    LIMIT,
    PLAN,
    batches,
    make_learner,
    make_trainer,
    no_figures,
    params,
    weights,
)
from tests.training.test_trainer import Killed, killed_in, logged

BESIDE = Machine(evaluate_in="job", checkpoint_every_steps=1, keep_checkpoints=1, data_wait_minutes=0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_queue, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(provenance, "freeze_code", lambda folder: None)  # these jobs have this process's


def job(call: Callable[[Path], Any], checkpoint: Path) -> JobSpec:
    """The job that calls `call` with a checkpoint."""
    record = checkpoint.parent / "submission.json"
    return JobSpec([partial(call, checkpoint)], JobRequest(), "debug", record, "evaluate")


def measured(checkpoint: Path) -> dict[str, Any]:
    """The figures that `no_figures` has of the same models."""
    saved = read_checkpoint(checkpoint)
    scales = {name: float(getattr(saved, name)["logit_scale"]) for name in ("student", "teacher")}
    return {"step": saved.extra["step"], "figures": {f"{name}/scale": s for name, s in scales.items()}}


def named(checkpoint: Path) -> dict[str, Any]:
    """The step of a checkpoint, as its figures."""
    step = step_of_checkpoint(checkpoint)
    return {"step": step, "figures": {"step": float(step)}}


def named_once_told(checkpoint: Path) -> dict[str, Any]:
    """The same, once the file `go` is in the run."""
    while not (checkpoint.parents[1] / "go").exists():
        time.sleep(0.01)
    return named(checkpoint)


def refused(checkpoint: Path) -> dict[str, Any]:
    raise InputError("no dataset")


class Run:
    """A run without a training: its queue, and the figures that came out of it."""

    def __init__(self, path: Path, call: Callable[[Path], Any], evaluated: tuple[int, ...] = ()) -> None:
        self.dir = RunDir(path)
        self.lease = Lease.take(self.dir)
        self.figures: list[int] = []
        self.queue = EvaluationQueue(self.lease, partial(job, call), True, evaluated)

    def save(self, step: int) -> None:
        """Save a checkpoint, in place of those before, and have it measured."""
        self.dir.checkpoints.mkdir(exist_ok=True)
        for before in self.dir.saved_checkpoints:
            before.unlink()
        self.dir.checkpoint(step).write_bytes(b"weights")
        self.queue.add(self.dir.checkpoint(step))

    def take(self) -> None:
        """Take figures, as a training does where it logs a line."""
        self.lease.check()
        self.queue.hand_over(self.log)

    def takes_figures(self) -> bool:
        """Take figures; True once some have come."""
        self.take()
        return bool(self.figures)

    def log(self, figures: StepFigures) -> None:
        self.figures.append(figures.step)

    def has_ended(self) -> bool:
        """True when the job on record has ended, and its submission, too."""
        job = read_submission(self.dir.evaluation_job)
        return job is not None and job.job_id != "" and job.is_finished()

    @property
    def waiting(self) -> list[int]:
        return list(map(step_of_checkpoint, self.dir.unevaluated_checkpoints))


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@contextmanager
def stopping() -> Iterator[None]:
    """A training that is stopped at the end of the block."""
    with pytest.raises(Killed):
        yield


def test_weights_and_figures_are_those_of_evaluations_inside_bit_for_bit(tmp_path: Path) -> None:
    p = params(evaluate_every_epochs=1)
    inside = weights(make_trainer(tmp_path / "inside", p).train(batches(0)))
    trainer = make_trainer(tmp_path / "beside", p, BESIDE, no_figures, job_of=partial(job, measured))
    beside = weights(trainer.train(batches(0)))
    assert all(torch.equal(inside[name], beside[name]) for name in inside)
    assert not (tmp_path / "inside" / "evaluations").exists()
    assert logged(tmp_path / "beside") == logged(tmp_path / "inside")
    here, there = (
        [
            line["evaluation"]
            for line in read_metrics(tmp_path / run / "metrics.jsonl")
            if "evaluation" in line
        ]
        for run in ("inside", "beside")
    )
    assert here == there
    assert make_trainer(tmp_path / "beside", p, BESIDE).is_complete
    left = sorted((tmp_path / "beside" / "evaluations").glob("[!.]*"))
    assert [path.name for path in left if not path.is_dir()] == ["submission.lock"]
    assert len(left) == 2  # the folder of the last job, which may still be in use


def test_training_goes_on_while_a_step_is_measured_whose_figures_come_later(tmp_path: Path) -> None:
    def telling() -> Iterator[Any]:
        yield from batches(0, 5)
        (tmp_path / "go").touch()
        yield from batches(5)

    p = params(evaluate_every_epochs=1)
    make_trainer(tmp_path, p, BESIDE, no_figures, job_of=partial(job, named_once_told)).train(telling())
    came = [
        (line["step"], "evaluation" in line) for line in MetricsLines.of(tmp_path / "metrics.jsonl").lines
    ]
    assert came.index((3, True)) > came.index((4, False))
    assert came[-1] == (6, True)
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 3, 4, 5, 6, 6]


def test_killed_in_the_last_evaluation_a_run_measures_no_step_twice(tmp_path: Path) -> None:
    p = params(evaluate_every_epochs=1)
    with pytest.raises(Killed):
        make_trainer(tmp_path, p, BESIDE, killed_in(1), job_of=partial(job, named)).train(batches(0))
    again = make_trainer(tmp_path, p, BESIDE, no_figures, job_of=partial(job, named))
    assert not again.is_complete
    again.train(batches(6))
    assert [step for step, kind in logged(tmp_path) if kind == "evaluation"] == [3, 6]


def test_one_waits_at_a_time_and_earlier_ones_are_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, named_once_told)
    with run.queue.following(0):
        run.save(1)
        until(run.dir.evaluation_job.exists)
        for step in (2, 3, 4):
            run.save(step)
        assert run.waiting == [1, 4]
        (tmp_path / "go").touch()
        run.queue.settle(run.take)
    assert (run.figures, run.waiting) == ([1, 4], [])
    assert [
        f"step {step} is not evaluated: a later checkpoint waits" in caplog.text for step in (1, 2, 3, 4)
    ] == [
        False,
        True,
        True,
        False,
    ]


def test_a_job_that_outlives_a_training_is_found_by_the_next_one(tmp_path: Path) -> None:
    run = Run(tmp_path, named)
    with stopping(), run.queue.following(0):
        run.save(1)
        until(run.has_ended)
        raise Killed
    again = Run(tmp_path, refused)
    with again.queue.following(1):
        again.save(2)
        until(lambda: again.take() or again.figures)
    assert again.figures == [1]


@only_root_is_others
def test_the_job_of_another_user_who_began_the_run_is_left_alone() -> None:
    with shared_folder() as shared:
        theirs = RunDir(shared / "run").evaluations / "1a2b3c4d"
        theirs.mkdir(mode=0o700, parents=True)
        for folder in (theirs.parent, shared / "run"):
            folder.chmod(0o777)
        with acting_as(BOB):
            run = Run(shared / "run", named)
            with run.queue.following(0):
                run.save(1)
                until(run.takes_figures)
        assert (run.figures, theirs.is_dir()) == ([1], True)


def test_a_training_that_is_asked_to_stop_submits_no_further_job(tmp_path: Path) -> None:
    run = Run(tmp_path, named)
    with stopping(), run.queue.following(0, lambda: True):
        run.save(1)
        time.sleep(0.1)
        raise Killed
    assert (run.waiting, run.dir.evaluation_job.exists()) == ([1], False)


def test_killed_at_any_moment_while_figures_are_taken_a_step_has_them_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = Run(folder, named)
    with stopping(), run.queue.following(0):
        run.save(1)
        until(run.has_ended)
        raise Killed
    shutil.copytree(folder, tmp_path / "left")

    def steps() -> tuple[int, ...]:
        return tuple(line["step"] for line in read_metrics(run.dir.metrics))

    def take() -> None:
        again = Run(folder, refused, steps())
        metrics = MetricsWriter(run.dir.metrics, 1)
        with again.queue.following(1):
            again.queue.settle(lambda: again.queue.hand_over(lambda taken: metrics.log({"step": taken.step})))

    for _ in killed_at_each_operation(take, folder):
        take()
        assert (steps(), run.waiting, run.dir.evaluation_job.exists()) == ((1,), [], False)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "left", folder)


def test_a_job_that_failed_is_named_and_the_next_checkpoint_is_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, refused)
    with run.queue.following(0):
        run.save(1)
        run.queue.settle(run.take)
        assert "step 1 is not evaluated: no dataset" in caplog.text
        run.queue.job_of = partial(job, named)
        run.save(2)
        run.queue.settle(run.take)
    assert run.figures == [2]


def test_a_job_that_cannot_be_submitted_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(checkpoint: Path) -> JobSpec:
        raise InputError("sbatch refused the job")

    run = Run(tmp_path, named)
    run.queue.job_of = refuse
    with run.queue.following(0):
        run.save(1)
        run.queue.settle(run.take)
    assert "step 1 is not evaluated: sbatch refused the job" in caplog.text
    assert (run.figures, run.waiting) == ([], [])


def test_a_job_that_a_silent_scheduler_does_not_take_is_submitted_once_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([TransientError("Slurm does not answer"), TransientError("Slurm does not answer")])

    def refuse_twice(checkpoint: Path) -> JobSpec:
        for error in answers:
            raise error
        return job(named, checkpoint)

    run = Run(tmp_path, named)
    run.queue.job_of = refuse_twice
    with run.queue.following(0):
        run.save(1)
        run.queue.settle(run.take)
    assert run.figures == [1]
    assert caplog.text.count("step 1 is evaluated later: Slurm does not answer") == 1


def test_a_training_that_has_ended_waits_for_a_limited_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_queue, "LAST_SECONDS", 0.1)
    run = Run(tmp_path, named_once_told)
    with run.queue.following(0):
        run.save(1)
        run.queue.settle(run.take)
    assert "step 1 is not evaluated: training has ended" in caplog.text
    assert (run.waiting, run.dir.evaluation_job.exists()) == ([], False)
    (tmp_path / "go").touch()


@pytest.mark.parametrize(("step", "evaluated", "is_used"), [(1, (), True), (9, (2,), True), (9, (), False)])
def test_what_need_not_be_measured_any_more_waits_no_longer(
    tmp_path: Path, step: int, evaluated: tuple[int, ...], is_used: bool
) -> None:
    run = Run(tmp_path, named)
    run.save(2)
    again = EvaluationQueue(run.lease, partial(job, named), is_used, evaluated)
    with again.following(step):
        assert run.waiting == []


def test_a_process_that_was_superseded_ends_no_job_and_measures_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, named)

    def superseded() -> None:
        with run.queue.following(0):
            Lease.take(run.dir)
            run.save(1)
            run.take()

    with pytest.raises(SupersededError):
        superseded()
    assert (run.waiting, run.dir.evaluation_job.exists()) == ([1], False)


def train_one_of_two(rank: int, folder: str) -> None:
    """A rank of a run whose checkpoints are measured by a job beside it."""
    provenance.freeze_code, evaluation_queue.POLL_SECONDS = lambda folder: folder, 0.01
    run, p = RunDir(Path(folder)), params(evaluate_every_epochs=1)
    with process_group("cpu", timedelta(minutes=5)) as process:
        learner = make_learner(p, BESIDE, process)
        job_of = partial(job, measured)
        trainer = open_training(run, learner, PLAN, BESIDE, no_figures, job_of, LIMIT)
        trainer.train(batch.split(2)[rank] for batch in batches(0))
        (run.path / f"rank-{rank}.txt").write_text(f"{trainer.step} {trainer.is_complete}")


@pytest.mark.slow
def test_ranks_train_on_together_while_a_job_measures_what_the_first_one_saved(tmp_path: Path) -> None:
    run_ranks(train_one_of_two, str(tmp_path))
    assert [(tmp_path / f"rank-{rank}.txt").read_text() for rank in (0, 1)] == ["6 True"] * 2
    lines = read_metrics(tmp_path / "metrics.jsonl")
    figures = {line["step"]: line["evaluation"] for line in lines if "evaluation" in line}
    assert {6} <= set(figures) <= {3, 6}
    assert figures[6] == measured(RunDir(tmp_path).checkpoint(6))["figures"]
