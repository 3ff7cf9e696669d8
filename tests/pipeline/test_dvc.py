"""Driving the pipeline: DVC's stages, beside each other too, failures, interruptions."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import TransientError
from cosmos.pipeline.directory import PIPELINE, PipelineDir
from cosmos.pipeline.dvc import (
    SINGLE_STAGE,
    StageFailedError,
    find_pretraining_run,
    machine_environment,
    pipeline_lock,
    reproduce,
)

MEET = "touch $1; for i in $(seq 300); do test -e $2 && echo met && touch $3 && break; sleep 0.1; done"
"""Script that ends once another one is there, too."""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A DVC repository with a stage that prints, one that fails, and one that takes long."""
    (tmp_path / "dvc.yaml").write_text("""
stages:
  speak: {cmd: 'echo "on $COSMOS_CLUSTER"; sleep 0.1; touch spoken', outs: [spoken]}
  fail: {cmd: 'echo "cosmos: the network is down"; exit 74', outs: [failed]}
  mistake: {cmd: 'echo "cosmos: no such key, exited with 74"; exit 2', outs: [mistaken]}
  meet: {cmd: sh meet.sh first second met, outs: [met]}
  made: {cmd: touch model, outs: [model]}
  left: {cmd: sh meet.sh on-left on-right left, deps: [model], outs: [left]}
  right: {cmd: sh meet.sh on-right on-left right, deps: [model], outs: [right]}
  last: {cmd: 'trap "touch saved; exit 75" INT; echo begun; sleep 60 & wait', outs: [never]}
""")
    (tmp_path / "meet.sh").write_text(MEET)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dvc.yaml").write_text("""
stages:
  meet:
    cmd: sh meet.sh second first folder/met && sleep 1
    wdir: ..
    outs: [folder/met]
""")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")  # as `dvc init --no-scm` does
    return tmp_path


def ignore(*_: object) -> None:
    pass


def run(workspace: Path, stage: str, options: Sequence[str] = ()) -> list[str]:
    lines = list[str]()
    reproduce(workspace, stage, {"COSMOS_CLUSTER": "debug"}, lines.append, ignore, options)
    return lines


def test_a_pipeline_has_its_lock_and_another_one_another(workspace: Path) -> None:
    order = list[str]()

    def second() -> None:
        with pipeline_lock(workspace, PIPELINE):
            order.append("second")

    with pipeline_lock(workspace, PIPELINE), pipeline_lock(workspace, PipelineDir(Path("pipelines/other"))):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_pipeline_works_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pipeline_lock(tmp_path, PIPELINE):
        pass


@pytest.mark.parametrize("content", [b"", b"\0\0", b"runs/\xb9\xff", b"runs/gone\n"])
def test_a_damaged_pointer_to_the_run_of_a_pipeline_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model.run").write_bytes(content)
    assert find_pretraining_run(tmp_path, PIPELINE) is None


def test_only_what_was_said_of_jobs_is_set() -> None:
    assert machine_environment("slurm", JobRequest()) == {"COSMOS_CLUSTER": "slurm"}
    request = JobRequest(nodes=2, partition="gpu", setup=("module load cuda",))
    assert machine_environment("slurm", request) == {
        "COSMOS_CLUSTER": "slurm",
        "COSMOS_SLURM__NODES": "2",
        "COSMOS_SLURM__PARTITION": "gpu",
        "COSMOS_SLURM__SETUP": '["module load cuda"]',
    }


def test_a_stage_runs_with_its_settings_and_is_skipped_the_second_time(workspace: Path) -> None:
    assert "on debug" in run(workspace, "speak")
    assert "Stage 'speak' didn't change, skipping" in run(workspace, "speak")


@pytest.mark.parametrize(
    ("stage", "message", "status", "is_transient"),
    [
        ("fail", "the network is down", 74, True),
        ("mistake", "no such key, exited with 74", 2, False),
        ("no-such-stage", "no-such-stage", 1, False),
    ],
)
def test_a_failure_has_the_status_of_the_command_or_of_the_class_of_the_error_of_dvc(
    workspace: Path, stage: str, message: str, status: int, is_transient: bool
) -> None:
    with pytest.raises(StageFailedError, match=message) as failure:
        run(workspace, stage)
    assert (failure.value.status, isinstance(failure.value, TransientError)) == (status, is_transient)


def test_stages_run_beside_each_other_and_what_is_busy_is_waited_for(workspace: Path) -> None:
    with ThreadPoolExecutor() as pool:
        begun = [
            pool.submit(run, workspace, stage)
            for stage in ("meet", "folder/dvc.yaml:meet", "folder/dvc.yaml:meet")
        ]
        outputs = [future.result() for future in begun]
    assert sum("met" in lines for lines in outputs) == 2
    assert sum("waiting for it" in lines for lines in outputs[1:]) == 1
    assert sum("Stage 'folder/dvc.yaml:meet' didn't change, skipping" in lines for lines in outputs[1:]) == 1


def test_nobody_waits_for_a_stranger_with_the_process_id_of_one_that_a_reboot_ended(workspace: Path) -> None:
    locks = workspace / ".dvc" / "tmp" / "rwlock"
    locks.parent.mkdir()
    held = {str(workspace / "spoken"): {"pid": os.getpid(), "cmd": "dvc repro speak"}}
    locks.write_text(json.dumps({"write": held}))
    begun = time.time() - 3600
    os.utime(locks, (begun, begun))  # before this process
    assert "waiting for it" not in run(workspace, "speak")


def test_locks_of_dvc_that_a_kill_left_half_written_are_named_with_the_remedy(workspace: Path) -> None:
    locks = workspace / ".dvc" / "tmp" / "rwlock"
    locks.parent.mkdir()
    locks.write_text("{")
    with pytest.raises(
        StageFailedError, match=r"(?s)rwlock.*remove that file once no other DVC command runs"
    ):
        run(workspace, "speak")


def test_stages_of_one_model_run_beside_each_other_once_it_is_there(workspace: Path) -> None:
    (workspace / "model").touch()
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(run, workspace, stage, SINGLE_STAGE) for stage in ("left", "right")]
        assert all("met" in future.result() for future in begun)


def test_an_interruption_reaches_the_command_as_ctrl_c_and_is_waited_for(workspace: Path) -> None:
    def stop(line: str) -> None:
        if line == "begun":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(workspace, "last", {}, stop, ignore)
    assert (workspace / "saved").exists()


def test_whoever_comes_next_waits_for_dvc_when_its_starter_is_killed(workspace: Path) -> None:
    code = f"""
from pathlib import Path
from cosmos.pipeline.directory import PIPELINE
from cosmos.pipeline.dvc import pipeline_lock, reproduce
root = Path({str(workspace)!r})
with pipeline_lock(root, PIPELINE):
    reproduce(root, "last", {{}}, lambda line: print(line, flush=True), lambda: None)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    while starter.stdout.readline() != "begun\n":
        pass
    starter.kill()
    starter.wait()
    (dvc,) = [pid for pid in processes() if f"repro{chr(0)}last" in pid[1]]
    begun = time.monotonic()
    threading.Timer(1.0, lambda: os.killpg(dvc[0], signal.SIGINT)).start()
    with pipeline_lock(workspace, PIPELINE):
        assert time.monotonic() - begun > 1
    assert (workspace / "saved").exists()


def processes() -> list[tuple[int, str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((int(path.parent.name), path.read_text()))
        except (OSError, UnicodeDecodeError):
            continue
    return found
