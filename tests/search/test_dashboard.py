"""`cosmos dashboard` serves a sweep's study."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from cosmos.search.dashboard import serve_dashboard
from tests.compare.compared import machine, make_sweep
from tests.search.examples import Bench


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def asked(url: str) -> httpx.Response:
    """Return the answer of a server that is about to listen."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url)
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_the_newest_study_is_served_to_this_machine(tmp_path: Path) -> None:
    folder, port = make_sweep(tmp_path, Bench(), trials=2, repeat=False), free_port()
    serving = subprocess.Popen(
        [sys.executable, "-m", "cosmos", "dashboard", "--port", str(port)],
        env={**os.environ, "COSMOS_RUNS_ROOT": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == f"{folder.path.name}: http://127.0.0.1:{port}\n"
        studies = asked(f"http://127.0.0.1:{port}/api/studies").json()["study_summaries"]
        assert [study["study_name"] for study in studies] == [folder.path.name]
    finally:
        serving.kill()
        serving.wait()


def test_without_a_sweep_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no sweep in .*; there are: none"):
        serve_dashboard("", machine(tmp_path), 8080)
