"""Run directories as the stages leave them, without any training."""

import json
import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from cosmos.config.params import Params, PretrainParams
from cosmos.evaluation.value_file import write_image_values
from cosmos.launch.outcome import Attempt, CallFiles, RankFailure
from cosmos.launch.submission import Submission, write_submission
from cosmos.run.directory import RunDir, open_run
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results, image_values_path
from cosmos.run.statistics.image_values import ImageValues
from cosmos.run.statistics.intervals import intervals_json

STEPS_PER_EPOCH = 5

_ages = count(1)


def make_run(path: Path, epochs: float = 3.0, tags: tuple[str, ...] = (), **pretrain: Any) -> RunDir:
    """Make a run of three epochs that was trained for `epochs`; no process trains it now."""
    run = open_run(path, Params(pretrain=PretrainParams(epochs=3, **pretrain)))
    provenance(run)
    train_to(run, epochs)
    if tags:
        RunLabels(tags=tags).write(run)
    return run


def train_to(run: RunDir, epochs: float, loss: float = 2.5) -> None:
    """Write the files of a process that trained a run up to there."""
    step = round(epochs * STEPS_PER_EPOCH)
    MetricsWriter(run.metrics, step).log({"step": step, "epoch": epochs, "loss": loss, "momentum": 0.9})
    run.checkpoints.mkdir(exist_ok=True)
    run.checkpoint(step).write_bytes(b"weights")


def provenance(
    run: RunDir, started: str = "2026-07-20T10:00:00+00:00", train: str = "1234567890abcdef"
) -> None:
    sessions = [{"started": started, "commit": "c0ffee"}]
    data, dataset = {"train": train}, {"num_samples": 16, "num_shards": 2}
    run.provenance.write_text(json.dumps({"data": data, "dataset": dataset, "sessions": sessions}))


def measure(run: RunDir, recall: float, data: str = "") -> None:
    models = {model: {"image_to_text_R@1": recall, "class/dog": 1.0} for model in ("student", "teacher")}
    Results(run.result_file("retrieval"), "retrieval").put("heldout", {"models": models, "data_hash": data})


def keep_values(
    run: RunDir, figure: str, hits: Sequence[float], data_hash: str = "d" * 64, image_set: str = "set"
) -> None:
    """Leave a result that is the mean of these values of images, as an evaluation does."""
    suite, dataset, model, metric = figure.split("/")
    values, results = np.array(hits, dtype=float), Results(run.result_file(suite), suite)
    entry = {
        "models": {model: {metric: float(values.mean())}},
        "intervals": {model: intervals_json({metric: values})},
        "data_hash": data_hash,
        "own_data": True,
    }
    results.put(dataset, entry)
    path = image_values_path(results.path, dataset, data_hash, model)
    write_image_values(path, ImageValues(image_set, {metric: values}))


def take_part(run: RunDir, state: str, **values: float) -> None:
    """Make a run a trial of a sweep."""
    trial = {"sweep": "small-1a2b3c4d", "number": 3, "seed": 1, "asked": {}, "state": state, "values": values}
    run.trial.write_text(json.dumps(trial))


def submit(run: RunDir, job_id: str = "12") -> CallFiles:
    """Make a run one that waits in a queue."""
    folder = run.jobs / "1a2b3c4d"
    folder.mkdir(parents=True)
    host, submitted = "login", "2026-07-20T09:00:00+00:00"
    write_submission(
        run.job, Submission("slurm", folder.name, "cosmos", 1, 5, submitted, host, job_id, folder)
    )
    return CallFiles(folder, 0)


def record_evaluation(record: Path, job_id: str, subject: str, num_calls: int = 1) -> None:
    """Leave the record of jobs that evaluate."""
    record.parent.mkdir(parents=True, exist_ok=True)
    folder = record.parent / "1a2b3c4d"
    submitted = "2026-07-20T09:00:00+00:00"
    job = Submission(
        "slurm", folder.name, "evaluate", num_calls, 5, submitted, "login", job_id, folder, subject=subject
    )
    write_submission(record, job)


def start_job(call: CallFiles, requeues: int = 0, moment: float = 0.0) -> None:
    call.begin(Attempt("12", requeues, "node1", call.folder / "log.txt", moment))


def fail_job(call: CallFiles) -> None:
    call.write_failure(RankFailure(0, 0, "node1", "RuntimeError", "Traceback", 1.0))


def live(run: RunDir) -> None:
    """Make a run one that a process trains now."""
    Lease.take(run)


def fall_silent(run: RunDir, seconds: float) -> None:
    """Make the last heartbeat of a run so many seconds old."""
    moment = run.lease.stat().st_mtime - seconds
    os.utime(run.lease, (moment, moment))


def settle(root: Path) -> None:
    """Date all files back, later than those that were dated back before."""
    age = 1_700_000_000 + next(_ages)
    for place in (root, *root.rglob("*")):
        if place.name != "writer.json" and not place.name.startswith("."):
            os.utime(place, (age, age))


def remove(run: RunDir) -> None:
    shutil.rmtree(run.path)
