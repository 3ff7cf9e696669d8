"""`dvc repro` with other parameters in params.yaml; progress, results and cancelled jobs of a pipeline."""

import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from filelock import lock_descriptor
from ruamel.yaml import YAML

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import (
    EXPERIMENT_KEY,
    OVERRIDES_KEY,
    PARAMS_YAML,
    Experiment,
    load_experiment,
    merge_sections,
    take_experiment_in_force,
)
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.settings_file import read_settings
from cosmos.errors import CosmosError, TransientError
from cosmos.pipeline.directory import PipelineDir
from cosmos.pipeline.pretrain import run_pointer
from cosmos.run.directory import RunDir
from cosmos.run.files import file_label, write_text
from cosmos.run.results import Results
from cosmos.stages import jobs
from cosmos.stages.evaluate_job import cancel_evaluations

logger = logging.getLogger(__name__)

STAGES = ("prepare", "pretrain", *(f"evaluate@{suite}" for suite in get_args(SuiteName)), "report")
"""Stages of dvc.yaml in their order, without `params`, which all of them depend on."""

PIPELINE = PipelineDir()
"""Folder that the stages fill, in a workspace."""

PARAMS_BEFORE = Path(".dvc/tmp/params-before.yaml")
"""Copy of params.yaml from before other parameters were put in force."""
PARAMS_IN_FORCE = Path(".dvc/tmp/params-in-force.yaml")
"""Copy of params.yaml with the other parameters, which shows whether it was edited since."""
PARAMS_KEPT = Path(".dvc/tmp/params-kept.yaml")
"""Copy of params.yaml from before, kept because the file was edited in the meantime."""
LOCK_FILE = Path(".dvc/tmp/workspace.lock")

DVC_TICK_SECONDS = 5.0
NUM_MESSAGE_LINES = 20
"""Last lines of a stage's output that the message of its failure holds."""


class StageFailedError(CosmosError):
    """A stage of the pipeline ended with an error; the message has the last lines that it printed."""

    def __init__(self, stage: str, lines: list[str]) -> None:
        last_lines = "\n  ".join(lines[-NUM_MESSAGE_LINES:])
        super().__init__(f"{stage} failed:\n  {last_lines}")
        self.stage = stage
        statuses = re.findall(r"exited with (\d+)$", "\n".join(lines), re.MULTILINE)
        self.status = int(statuses[-1]) if statuses else 0
        """exit status of its command; 0 where it was DVC that failed"""


class TransientStageError(StageFailedError, TransientError):
    """A stage of the pipeline ended with the exit status of a TransientError."""


def stage_failure(stage: str, lines: list[str]) -> StageFailedError:
    """Return the error of a stage that printed `lines`, of the class that its exit status stands for."""
    failure = StageFailedError(stage, lines)
    is_transient = failure.status == TransientError.exit_status
    return TransientStageError(stage, lines) if is_transient else failure


@contextmanager
def parameters_in_force(root: Path, experiment: str, overrides: dict[str, Any]) -> Iterator[Experiment]:
    """Put an experiment and overrides into params.yaml of the workspace, and restore the file at the end.

    After a crash, the next use restores it. One process has the workspace at a time and others wait, also
    for a `dvc repro` that is left of a process that was killed.
    `experiment`: "" for the one in params.yaml. Raises InputError for wrong parameters.
    """
    with workspace_lock(root):
        restore_params(root)
        resolved = load_experiment(experiment, overrides, root / PARAMS_YAML)
        if experiment or overrides:
            replace_params(root, experiment, overrides)
        try:
            yield resolved
        finally:
            restore_params(root)


def replace_params(root: Path, experiment: str, overrides: dict[str, Any]) -> None:
    """Write an experiment and overrides into params.yaml, after a copy of it and of the text before."""
    base = root / PARAMS_YAML
    before = base.read_text(encoding="utf-8")
    in_force, overrides_before = take_experiment_in_force(base, read_settings(base).values)
    merged = overrides if experiment else merge_sections(overrides_before, overrides)
    text = edit_yaml(before, {EXPERIMENT_KEY: experiment or in_force, OVERRIDES_KEY: merged})
    write_text(root / PARAMS_IN_FORCE, text)
    write_text(root / PARAMS_BEFORE, before)
    write_text(base, text)


@contextmanager
def workspace_lock(root: Path) -> Iterator[None]:
    """Hold the workspace lock; child processes inherit it, so it outlives a killed parent."""
    lock = root / LOCK_FILE
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        os.set_inheritable(file.fileno(), True)
        if not lock_descriptor(file.fileno(), blocking=False):
            logger.warning("another run works in %s; waiting for it", root)
            # it polls, since a flow could not cancel a wait in flock
            lock_descriptor(file.fileno(), poll_interval=1)
        yield


def restore_params(root: Path) -> None:
    """Restore the text that params.yaml had before, unless somebody edited it in the meantime."""
    before, base = root / PARAMS_BEFORE, root / PARAMS_YAML
    if not before.exists():
        return
    text = before.read_text(encoding="utf-8")
    if base.read_text(encoding="utf-8") in (text, (root / PARAMS_IN_FORCE).read_text(encoding="utf-8")):
        write_text(base, text)
        before.unlink()
    else:
        before.replace(root / PARAMS_KEPT)
        logger.warning(
            "%s was edited while a run had other parameters there; the edit stays, the text before is in %s",
            base,
            root / PARAMS_KEPT,
        )


def edit_yaml(text: str, values: dict[str, Any]) -> str:
    """Return YAML with the values of some keys replaced and all its comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    document = yaml.load(text)
    document.update(values)
    stream = StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


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
) -> None:
    """Run `dvc repro STAGE` with further variables in its environment.

    Each line that it prints is passed to `on_line`, and `on_tick` is called every few seconds, in the calling
    thread. An exception in either stops DVC as Ctrl-C does: a pretraining saves, or leaves its job running.
    Raises StageFailedError; TransientStageError where a second try may succeed with nothing mended.
    """
    process = start_dvc(root, stage, environment)
    lines = list[str]()
    try:
        for line in lines_and_ticks(process, on_tick):
            lines.append(line)
            on_line(line)
    except BaseException:
        interrupt_process(process)
        raise
    if process.wait():
        raise stage_failure(stage, [line for line in lines if line.strip()])


def start_dvc(root: Path, stage: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start `dvc repro STAGE` in a process group of its own, which holds the workspace lock, too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", stage],
        cwd=root,
        env={**os.environ, **environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        close_fds=False,  # the workspace's lock is handed on
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


def find_pretraining_run(root: Path) -> RunDir | None:
    """Return the run that the pipeline's pretraining works in, or last worked in; None before the first."""
    file = run_pointer(root / PIPELINE.model.path)
    return RunDir(root / file.read_text(encoding="utf-8").strip()) if file.exists() else None


def pretraining_progress(root: Path) -> jobs.RunJob | None:
    """Return the job and progress of the pipeline's pretraining; None where there is none."""
    run = find_pretraining_run(root)
    return jobs.job_of_run(run, Machine()) if run and run.params.exists() else None


def cancel_jobs(root: Path) -> str:
    """Cancel the jobs of the pipeline's pretraining and evaluations, and describe what was done."""
    run, machine = find_pretraining_run(root), Machine()
    elsewhere = RunDir(root / machine.runs_root / file_label(str(PIPELINE.checkpoint)))
    folders = [folder.jobs for folder in (elsewhere, run) if folder]
    records = [record for folder in folders for record in sorted(folder.glob("evaluate-*.json"))]
    done = [cancel_evaluations(record) for record in records]
    if run and run.job.exists():
        ended = jobs.cancel_run(jobs.name_of_run(run, machine), machine, quiet=True)
        done.append(f"job {ended['job']}: {'cancelled' if ended['cancelled'] else 'had ended already'}")
    return "; ".join(done) or "the pipeline has no job"


def list_results(root: Path) -> list[dict[str, Any]]:
    """Return the pipeline's results: a row of suite, dataset, model and figures for each of these."""
    return [
        {"suite": suite, "dataset": dataset, "model": model, **figures}
        for suite in get_args(SuiteName)
        for dataset, entry in Results(root / PIPELINE.results(suite), suite).entries().items()
        for model, figures in entry["models"].items()
    ]
