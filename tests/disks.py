"""Disks that tests mount: small, full or read-only ones."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SEEN_BY_NODES = Path(os.environ.get("LOCAL_SLURM_HOME", "/var/tmp/cosmos-slurm")) / "disks"
"""Folder below which the nodes of the local Slurm see what this machine mounts; elsewhere they do not."""


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A disk of its own at `folder`, with these options."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("disks can be mounted by root alone")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fail_syncs(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have each sync of a file or folder raise an error of the operating system."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
