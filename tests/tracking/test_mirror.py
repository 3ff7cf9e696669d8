"""Runs in W&B's own offline files, and training beside a W&B that fails in every way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from cosmos.config.wandb import WandbSettings
from cosmos.errors import Interrupted
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import MetricsWriter, read_metrics
from cosmos.tracking.mirror import follower_environment, mirroring, start_follower
from cosmos.tracking.note import MirrorNote
from tests.disks import small_disk
from tests.tracking.examples import KEY, R1, ROOT, begun, evaluation, log, look, measure, save
from tests.tracking.offline import read_offline

OFFLINE = WandbSettings(mode="offline")
PATIENCE = 8.0
SLACK = 1.0
"""Seconds that a busy machine takes to kill a process, beyond the patience."""
LONGEST_STEP = 2.0
"""Seconds within which a busy machine writes a line; whoever waits for W&B waits longer."""


def under_way(run: RunDir) -> None:
    """Waits until a run's process has handed rows to W&B, and W&B has had some time to write them."""
    deadline = time.monotonic() + 30
    while MirrorNote.of(run).mode != "offline":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)


def test_a_run_is_shown_as_its_directory_says(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "lr-1a2b3c4d" / "trial-0000")
    with mirroring(run, OFFLINE.model_copy(update={"upload_galleries": True})):
        with mirroring(run, OFFLINE):  # a trial's job wraps stages that do the same
            begun(run.path, "lr-1a2b3c4d")
            log(run, 1, 3)
        log(run, 4, 5)
        measure(run, 0.75)
        look(run)
        save(run, 50)
    offline_run = read_offline(run.path)
    assert (offline_run.num_sessions, offline_run.id) == (1, MirrorNote.of(run).id)
    assert (offline_run.name, offline_run.group, offline_run.job_type) == (
        "lr-1a2b3c4d/trial-0000",
        "lr-1a2b3c4d",
        "pretrain",
    )
    assert offline_run.tags == ("first try", "demo")
    assert offline_run.config["pretrain"]["momentum"] == 0.96
    assert offline_run.steps == [10, 20, 30, 40, 50]
    assert [row["samples"] for row in offline_run.history] == [320, 640, 960, 1280, 1600]
    assert offline_run.history[1][f"evaluation/student/heldout/{R1}"] == 0.5
    assert offline_run.summary["loss"] == {"min": 0.0, "last": 0.0}
    assert offline_run.summary[f"evaluation/student/heldout/{R1}"] == {"max": 0.5, "last": 0.25}
    assert offline_run.summary[f"retrieval/heldout/student/{R1}"] == 0.75
    assert offline_run.summary["data/retrieval/heldout"] == "da7a0123" * 8
    assert (
        offline_run.summary["tables/retrieval"]["nrows"],
        offline_run.summary["tables/retrieval"]["ncols"],
    ) == (2, 5)
    gallery = offline_run.summary["galleries/retrieval/heldout"]
    assert (gallery["nrows"], gallery["ncols"]) == (2, 3)
    files = [entry["path"] for stored in offline_run.artifacts for entry in stored["manifest"]["contents"]]
    assert [Path(file).suffix for file in files if file.startswith("media/images/")] == [".png"]
    (checkpoint,) = [artifact for artifact in offline_run.artifacts if artifact["type"] == "model"]
    (entry,) = checkpoint["manifest"]["contents"]
    assert entry["ref"] == f"file://{run.checkpoint(50)}"
    note = MirrorNote.of(run)
    assert (note.mode, note.url, note.step, note.finished) == ("offline", "", 50, True)


def test_what_is_damaged_is_left_out_and_named_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, unasked = RunDir(tmp_path / "run"), RunDir(tmp_path / "unasked")
    for each in (run, unasked):
        begun(each.path)
        each.labels.write_text('{"tags": [3]}')
    with mirroring(run, OFFLINE), mirroring(unasked, WandbSettings()):
        log(unasked, 1, 2)
        log(run, 1, 2)
        with run.metrics.open("ab") as file:
            file.write(b'null\n{"loss": 1}\n{"step": "30"}\n\xff\n')
            file.write(b'{"step": 30, "loss": 1.0}\n')
        run.result_file("retrieval").parent.mkdir()
        run.result_file("retrieval").write_text('{"datasets": 3}')
        look(run)
    assert read_offline(run.path).steps == [10, 20, 30]
    assert not [key for key in read_offline(run.path).summary if key.startswith("galleries")]
    assert "retrieval.json: not a file of results" in caplog.text
    assert read_offline(unasked.path).steps == [10, 20]
    assert "labels.json: not" in (unasked.path / "wandb" / "mirror.log").read_text()
    assert "unasked" not in caplog.text


def test_names_that_are_patterns_or_no_utf8_and_a_wandb_mode_that_is_none_keep_nothing_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "")  # as a container's settings may have it
    run = RunDir(tmp_path / "run")
    with mirroring(run, WandbSettings()):
        begun(run.path)
        params = yaml.safe_load(run.params.read_text())
        params["data"]["source_path"] = "photos \udcff"
        run.params.write_text(yaml.safe_dump(params))
        log(run, 1, 2)
        MetricsWriter(run.metrics, 20).log({"step": 30, "evaluation": {"student/a*b/R@1": 0.5}})
    monkeypatch.delenv("WANDB_MODE")  # W&B's reader refuses it
    offline_run = read_offline(run.path)
    assert offline_run.history[-1]["evaluation/student/a*b/R@1"] == 0.5
    assert offline_run.config["data"]["source_path"] == r"photos \udcff"


def until_its_evaluation(run: RunDir) -> None:
    """A requeued training that is interrupted once more, in the evaluation that a step ends in."""
    with mirroring(run, OFFLINE):
        metrics = MetricsWriter(run.metrics, 20)
        metrics.log({"step": 30, "epoch": 1.5, "samples": 960, "loss": 2.0})
        metrics.log({"step": 40, "epoch": 2.0, "samples": 1280, "loss": 7.0})
        time.sleep(1)
        raise Interrupted("stopped in the evaluation after step 40", signal.SIGUSR2)


@pytest.mark.slow
def test_kills_and_requeues_show_every_step_once_in_one_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    begun(run.path, every_epochs=1)
    log(run, 1, 3)
    process = start_follower(run.path, OFFLINE)
    assert process
    under_way(run)
    process.kill()
    process.wait()

    with pytest.raises(Interrupted):
        until_its_evaluation(run)
    with mirroring(run, OFFLINE):
        MetricsWriter(run.metrics, 40).log(evaluation(4))
        measure(run, 0.5)
    offline_run = read_offline(run.path)
    assert offline_run.steps == [10, 20, 30, 40]
    assert (offline_run.history[3]["loss"], offline_run.history[3][f"evaluation/student/heldout/{R1}"]) == (
        7.0,
        0.25,
    )
    assert offline_run.summary["loss"] == {"min": 2.0, "last": 7.0}
    assert offline_run.summary[f"evaluation/student/heldout/{R1}"]["max"] == 0.5

    sessions = set((run.path / "wandb").glob("offline-run-*"))
    with mirroring(run, OFFLINE):
        pass  # all is shown
    assert set((run.path / "wandb").glob("offline-run-*")) == sessions


@pytest.mark.slow
def test_a_process_whose_parent_was_killed_shows_what_is_left_and_ends(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "sweep-1a2b3c4d")
    RunLabels("sweep-1a2b3c4d", "search", ("lr",)).write(run)
    code = f"""
import os, signal, time
from pathlib import Path
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from cosmos.tracking.mirror import mirroring
from cosmos.config.wandb import WandbSettings
run = RunDir(Path({str(run.path)!r}))
with mirroring(run, WandbSettings(mode="offline")):
    metrics = MetricsWriter(run.metrics)
    metrics.log({{"step": 1, "trial": 0, "retrieval/heldout/student/{R1}": 0.5}})
    while not run.wandb.exists():
        time.sleep(0.1)
    metrics.log({{"step": 2, "trial": 1, "retrieval/heldout/student/{R1}": 0.25}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 30
    while not MirrorNote.of(run).finished:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    offline_run = read_offline(run.path)
    assert (offline_run.name, offline_run.job_type, offline_run.steps) == ("sweep-1a2b3c4d", "search", [1, 2])
    assert [row["trial"] for row in offline_run.history] == [0, 1]


def train(run: RunDir) -> float:
    """A stand-in for training that lasts a second and a half; returns the longest time a step took."""
    begun(run.path)
    longest = 0.0
    for i in range(1, 31):
        began = time.monotonic()
        MetricsWriter(run.metrics, 10 * (i - 1)).log({"step": 10 * i, "loss": 1 / i})
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.05)
    return longest


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers every request with `status`; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def nobody() -> Iterator[int]:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


SERVERS: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "nobody": nobody,
    "silent": silent,
    "500": partial(answering, 500),
    "401": partial(answering, 401),
}


@pytest.mark.slow
def test_a_server_that_does_not_do_its_part_delays_nothing_but_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with ExitStack() as servers:
        begun_at = dict[str, AbstractContextManager[None]]()
        for kind, server in SERVERS.items():
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{servers.enter_context(server())}")
            begun_at[kind] = mirroring(RunDir(tmp_path / kind), WandbSettings(patience_seconds=PATIENCE))
            begun_at[kind].__enter__()
        for kind, mirrored in begun_at.items():
            assert train(RunDir(tmp_path / kind)) < LONGEST_STEP
            ended = time.monotonic()
            mirrored.__exit__(None, None, None)
            assert time.monotonic() - ended < PATIENCE + SLACK
    assert len(caplog.records) == len(SERVERS)
    for record in caplog.records:
        warning = record.getMessage()
        assert "`wandb sync`" in warning
        assert "\n" not in warning
        assert KEY not in warning
    if "recorded in" in caplog.records[0].getMessage():  # a slow machine may not come that far
        assert read_offline(tmp_path / "nobody").steps == list(range(10, 301, 10))


@pytest.mark.slow
def test_a_full_disk_below_its_directory_delays_nothing_but_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDir(tmp_path / "run")
    with small_disk(run.path / "wandb", "size=64k"):
        (run.path / "wandb" / "filling").write_bytes(b"0" * 60_000)
        with mirroring(run, WandbSettings(mode="offline", patience_seconds=PATIENCE)):
            assert train(run) < LONGEST_STEP
            ended = time.monotonic()
        assert time.monotonic() - ended < PATIENCE + SLACK
    assert len(read_metrics(run.metrics)) == 30
    assert ["`wandb sync`" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("mode", "environment"),
    [
        ("disabled", {}),
        ("auto", {"WANDB_MODE": "disabled"}),
        ("auto", {"WANDB_MODE": "Disabled"}),
        ("offline", {"RANK": "1"}),
    ],
)
def test_switched_off_or_on_another_rank_there_is_no_process_and_no_file(
    mode: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(subprocess, "Popen", None)
    run = RunDir(tmp_path / "run")
    with mirroring(run, WandbSettings.model_validate({"mode": mode})):
        pass
    assert not run.path.exists()


def test_where_there_is_no_home_the_folder_of_the_run_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/none")
    assert follower_environment(tmp_path)["HOME"] == str(tmp_path / "wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert follower_environment(tmp_path)["HOME"] == str(tmp_path)


@pytest.mark.parametrize(
    ("mode", "environment", "warnings"),
    [
        ("offline", {}, 1),
        ("auto", {"WANDB_API_KEY": KEY}, 1),
        ("auto", {"WANDB_MODE": "online"}, 1),
        ("auto", {}, 0),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, 0),
    ],
)
def test_a_process_that_cannot_be_started_is_one_warning_to_who_asked_for_it(
    mode: str,
    environment: dict[str, str],
    warnings: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    run = RunDir(tmp_path / "run")
    with mirroring(run, WandbSettings.model_validate({"mode": mode})):
        pass
    assert ["no-python" in record.getMessage() for record in caplog.records] == [True] * warnings
    if not environment:  # where nobody is logged in any more, a run may have been shown online
        MirrorNote("run-1a2b", mode="online").write(run)
        with mirroring(run, WandbSettings.model_validate({"mode": mode})):
            pass
        assert len(caplog.records) == warnings + 1


@pytest.mark.parametrize(("mode", "warnings"), [("offline", 1), ("auto", 0)])
def test_a_process_that_is_stuck_is_killed_and_named_to_who_asked_for_it(
    mode: str,
    warnings: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\ntrap '' TERM\necho $$ > pid\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(stuck))
    settings = WandbSettings.model_validate({"mode": mode, "patience_seconds": 0.5})
    with mirroring(RunDir(tmp_path / "run"), settings):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads((tmp_path / "pid").read_text()), 0)
    assert ["within 0.5 s" in record.getMessage() for record in caplog.records] == [True] * warnings
