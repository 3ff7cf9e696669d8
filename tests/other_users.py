"""Users of a group that share folders: root is each of them for a while."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ALICE, BOB = 54321, 54322
"""Numbers of users that no machine knows."""

GROUP = 54320

only_root_is_others = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


@contextmanager
def acting_as(user: int, umask: int = 0o022) -> Iterator[None]:
    """Be another user of GROUP inside, with a umask; files are made and refused as for that one."""
    groups, before = os.getgroups(), os.umask(umask)
    os.setgroups([])
    os.setresgid(GROUP, GROUP, 0)
    os.setresuid(user, user, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
        os.umask(before)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder of GROUP, in which all users can work; it is removed at the end."""
    folder = Path(tempfile.mkdtemp())
    try:
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2777)
        yield folder
    finally:
        shutil.rmtree(folder)


def run_in_container(code: str) -> None:
    """Run Python code in a process of this host's name that has ids of processes of its own."""
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    if os.geteuid():
        command[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*command[:-2], "-c", ""], capture_output=True).returncode:
        pytest.skip("this system makes no containers")
    subprocess.run(command, check=True)
