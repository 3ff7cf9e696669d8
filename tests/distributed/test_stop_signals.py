"""Signals to commands that have not begun yet."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos.distributed.stop_signals import STOP_SIGNALS, heed_stop_signals
from tests.stages.examples import ROOT


def stopped_at_import(module: str, number: int, *arguments: str) -> list[str]:
    """The command with these arguments, which gets a signal when it imports a module."""
    code = (
        "import os, sys\n"
        "class Stopping:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), {number:d})\n"
        "sys.meta_path.insert(0, Stopping())\n"
        f"sys.argv = ['cosmos', *{arguments!r}]\n"
        "from cosmos.__main__ import main\n"
        "main()\n"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("module", "number", "command", "status"),
    [
        ("cosmos.cli", signal.SIGTERM, "pretrain", 75),
        ("pydantic", signal.SIGUSR2, "prepare", 75),
        ("yaml", signal.SIGUSR1, "sweep", 75),
        ("cosmos.cli.runs", signal.SIGTERM, "runs", 75),
        ("cosmos.stages.pretrain_job", signal.SIGINT, "pretrain", 75),
        ("cosmos.registry.jobs", signal.SIGINT, "jobs", 130),
        ("cosmos.cli", signal.SIGINT, "prepare", 75),
        ("cosmos.cli", signal.SIGHUP, "pretrain", 75),
    ],
)
def test_a_signal_before_a_command_begins_ends_it_with_its_status(
    module: str, number: int, command: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        stopped_at_import(module, number, command), cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    said = r"cosmos: stopped by [\w-]+; the same command continues\n" if status == 75 else ""
    assert re.fullmatch(said, done.stderr)


def test_a_forked_child_ends_by_the_signal_as_others_do() -> None:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    try:
        heed_stop_signals()
        if (child := os.fork()) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
