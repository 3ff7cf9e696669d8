"""Commands and ranks, forked from a process that has imported everything: they start ten times as fast.

Where the start itself is the point (signals, --help, kills), tests start a new Python.
"""

import atexit
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import start_processes

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *(f"cosmos.stages.{name}" for name in ("prepare", "pretrain", "evaluate")),
        "cosmos.cli",
        "dvc.cli.parser",
    ]
)


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
