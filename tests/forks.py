"""Commands and ranks, forked from a process that has imported everything: they start ten times as fast.

Where the start itself is the point (signals, --help, kills), tests start a new Python.
"""

import atexit
import gc
import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import main as dvc_command
from torch.multiprocessing.spawn import start_processes

IMPORTED = (
    *(f"cosmos.stages.{name}" for name in ("prepare", "pretrain", "evaluate")),
    "cosmos.cli",
    *("dvc.cli.parser", "dvc.repo.reproduce", "dvc.rwlock", "networkx", "scmrepo.git"),
)
"""Modules that commands need."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(IMPORTED))


def fork_server_here() -> None:
    """Fork the server from this process, which needs the same modules: a new Python would import them again.

    For a process that has done nothing else yet: its threads and locks would not be as in a new one.
    """
    for name in IMPORTED:
        importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiprocessing.util.spawnv_passfds", partial(_fork_server, patch))
        forkserver.ensure_running()


def _fork_server(
    patch: pytest.MonkeyPatch, python: str, arguments: Sequence[str], descriptors: Sequence[int]
) -> int:
    """Run the code that a new Python would be started with; return the process's id."""
    if process := os.fork():
        return process
    try:
        patch.undo()
        opened = {int(link.name) for link in Path("/proc/self/fd").iterdir()}
        for descriptor in opened - {0, 1, 2, *descriptors}:
            with suppress(OSError):
                os.close(descriptor)
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
        forkserver._forkserver._lock = threading.Lock()  # type: ignore[attr-defined]  # held where it was forked
        gc.enable()
        gc.freeze()  # or the first collection of each fork would copy all that they share
        exec(arguments[-1], {})
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(0)


def run_forked(
    main: Callable[[], Any], arguments: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the main function of a command, and return its status and output, as `subprocess.run` does."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = FORKS.Process(target=_become, args=(main, arguments, cwd, dict(env), output, errors))
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            arguments, process.exitcode, output.read_text(), errors.read_text()
        )


def run_dvc(folder: Path, *arguments: str, **env: str) -> str:
    """Run a command of DVC in a folder, and return what it printed. It has to succeed."""
    done = run_forked(dvc_command, arguments, folder, {**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


def _become(
    main: Callable[[], Any],
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    errors: Path,
) -> None:
    for path, descriptor in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [main.__module__, *arguments]
    status = 1
    try:
        status = _status_of(main)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def _status_of(main: Callable[[], Any]) -> int:
    try:
        return main() or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)


def run_ranks(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function, with its rank and the arguments, in two processes of one job; wait for both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    start_processes(_become_rank, (function, port, *arguments), nprocs=2, start_method="forkserver")  # type: ignore[no-untyped-call]


def _become_rank(rank: int, function: Callable[..., None], port: str, *arguments: Any) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    function(rank, *arguments)
