"""`dvc repro` of a stage, for a flow; progress, results and cancelled jobs of a pipeline."""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

from filelock import lock_descriptor

from cosmos.config.disk_reading import exists, find_paths, is_dir, is_file
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.identity import short_hash
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.errors import CosmosError, TransientError
from cosmos.pipeline.directory import PipelineDir
from cosmos.pipeline.pretrain import run_pointer
from cosmos.registry.jobs import RunJob, job_of_run
from cosmos.run.directory import RunDir
from cosmos.run.dvc_versions import DVC_TMP
from cosmos.run.files import file_label, open_to_append
from cosmos.run.results import Results, interval_columns
from cosmos.stages import jobs
from cosmos.stages.evaluate_job import cancel_evaluations

logger = logging.getLogger(__name__)

STAGES = ("prepare", "pretrain", *(f"evaluate@{suite}" for suite in get_args(SuiteName)), "report")
"""Stages of dvc.yaml in their order, without `params`, which all of them depend on."""

SINGLE_STAGE = ("--single-item",)
"""Option of `dvc repro`, for a stage whose dependencies are up to date: DVC does not look at their stages.

It would need their outputs for itself, and stages beside each other that read these would wait.
"""

DVC_TICK_SECONDS = 5.0
NUM_MESSAGE_LINES = 20
"""Last lines of a stage's output that the message of its failure holds."""


class StageFailedError(CosmosError):
    """A stage of the pipeline ended with an error; the message has the last lines that it printed."""

    def __init__(self, stage: str, lines: list[str], status: int) -> None:
        last_lines = "\n  ".join(lines[-NUM_MESSAGE_LINES:])
        super().__init__(f"{stage} failed:\n  {last_lines}")
        self.stage = stage
        self.status = status
        """exit status of its command, or of the class of DVC's error (`cosmos.run.dvc_command`)"""


class TransientStageError(StageFailedError, TransientError):
    """A stage of the pipeline ended with the exit status of a TransientError."""


def stage_failure(stage: str, lines: list[str], status: int) -> StageFailedError:
    """Return the error of a stage that printed `lines`, of the class that its exit status stands for."""
    is_transient = status == TransientError.exit_status
    return (TransientStageError if is_transient else StageFailedError)(stage, lines, status)


@contextmanager
def pipeline_lock(root: Path, pipeline: PipelineDir) -> Iterator[None]:
    """Hold the lock of a pipeline; child processes inherit it, so it outlives a killed parent."""
    lock = root / DVC_TMP / f"{file_label(str(pipeline.folder))}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open_to_append(lock) as file:
        os.set_inheritable(file.fileno(), True)
        with suppress(OSError):  # a file system without locks
            if not lock_descriptor(file.fileno(), blocking=False):
                logger.warning("another run works in %s; waiting for it", pipeline.folder)
                # it polls, since a flow could not cancel a wait in flock
                lock_descriptor(file.fileno(), poll_interval=1)
        yield


def machine_environment(cluster: ClusterName, request: JobRequest) -> dict[str, str]:
    """Return the COSMOS_* variables of a cluster and of the keys of `request` that are set."""
    values = request.model_dump(mode="json", exclude_unset=True)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return {"COSMOS_CLUSTER": cluster, **{f"COSMOS_SLURM__{key.upper()}": v for key, v in texts.items()}}


def reproduce(
    root: Path,
    stage: str,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
    options: Sequence[str] = (),
) -> None:
    """Run `dvc repro STAGE` with further variables in its environment.

    `options`: SINGLE_STAGE, or none.

    Each line that it prints is passed to `on_line`, and `on_tick` is called every few seconds, in the calling
    thread. An exception in either stops DVC as Ctrl-C does: a pretraining saves, or leaves its job running.
    Another DVC process that has what the stage needs is waited for.
    Raises StageFailedError; TransientStageError where a second try may succeed with nothing mended.
    """
    process = start_dvc(root, [*options, stage], environment)
    lines = list[str]()
    try:
        for line in lines_and_ticks(process, on_tick):
            lines.append(line)
            on_line(line)
    except BaseException:
        interrupt_process(process)
        raise
    if status := process.wait():
        raise stage_failure(stage, [line for line in lines if line.strip()], status)


def start_dvc(
    root: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> "subprocess.Popen[str]":
    """Start `dvc repro` in a process group of its own, which holds the pipeline's lock, too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "cosmos.run.dvc_command", "repro", *arguments],
        cwd=root,
        env={**os.environ, **environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        close_fds=False,  # the pipeline's lock is handed on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # nohup has it ignored
    )


def lines_and_ticks(process: "subprocess.Popen[str]", on_tick: Callable[[], None]) -> Iterator[str]:
    """Yield the lines that a process prints, and call `on_tick` every few seconds in between."""
    stream = process.stdout
    assert stream is not None
    printed: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            printed.put(line)
        printed.put("")

    threading.Thread(target=read, daemon=True).start()
    next_tick = time.monotonic() + DVC_TICK_SECONDS
    while True:
        try:
            line = printed.get(timeout=max(0.0, next_tick - time.monotonic()))
        except queue.Empty:
            on_tick()
            next_tick = time.monotonic() + DVC_TICK_SECONDS
            continue
        if not line:
            return
        yield line.rstrip("\n")


def interrupt_process(process: "subprocess.Popen[str]") -> None:
    """Stop DVC and the command of its stage, as Ctrl-C in a terminal does, and wait for them."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def find_pretraining_run(root: Path, pipeline: PipelineDir) -> RunDir | None:
    """Return the run that a pipeline's pretraining works in, or last worked in.

    None before the first, and where the file that names it is damaged: `dvc repro` writes it again.
    """
    file = run_pointer(root / pipeline.model.path)
    name = file.read_text(encoding="utf-8", errors="replace").strip() if is_file(file) else ""
    run = RunDir(root / name)
    return run if name and is_dir(run.path) else None


def pretraining_progress(root: Path, pipeline: PipelineDir) -> RunJob | None:
    """Return the job and progress of a pipeline's pretraining; None where there is none."""
    run = find_pretraining_run(root, pipeline)
    return job_of_run(run, Machine()) if run and exists(run.params) else None


def cancel_jobs(root: Path, pipeline: PipelineDir) -> str:
    """Cancel the jobs of a pipeline's pretraining and evaluations, and describe what was done."""
    run, machine = find_pretraining_run(root, pipeline), Machine()
    elsewhere = RunDir(root / machine.runs_root / file_label(str(pipeline.checkpoint)))
    folders = [folder.jobs for folder in (elsewhere, run) if folder]
    records = [record for folder in folders for record in find_paths(folder, "evaluate-*.json")]
    done = [cancel_evaluations(record) for record in records]
    if run and exists(run.job):
        ended = jobs.cancel_run(jobs.name_of_run(run, machine), machine, quiet=True)
        done.append(f"job {ended['job']}: {'cancelled' if ended['cancelled'] else 'had ended already'}")
    return "; ".join(done) or "the pipeline has no job"


def list_results(root: Path, pipeline: PipelineDir) -> list[dict[str, Any]]:
    """Return a pipeline's results: a row of suite, dataset, its data, model and figures for each of these."""
    return [
        {
            "suite": suite,
            "dataset": dataset,
            "data": short_hash(entry["data_hash"]),
            "model": model,
            **figures,
            **interval_columns(entry["intervals"].get(model, {})),
        }
        for suite in get_args(SuiteName)
        for dataset, entry in Results(root / pipeline.results(suite), suite).entries().items()
        for model, figures in entry["models"].items()
    ]
