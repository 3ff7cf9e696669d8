"""What a run was made from and on: commit and diff, data, packages, hardware, command."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cosmos.files import write_json

PACKAGES = ("cosmos-pretraining", "torch", "torchvision", "open_clip_torch", "numpy", "pillow")
COMPUTING = ("data", "model", "evaluation")
"""Parts of the library that decide an embedding or a figure."""

MAX_DIFF_CHARS = 200_000


def record(path: Path, data: dict[str, Path], device: str) -> None:
    """Appends this session to the provenance file at `path`; `data` names the manifests that it reads."""
    sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() else []
    write_json(
        path,
        {
            "data": {name: sha256(file) for name, file in data.items()},
            "sessions": [*sessions, session(device)],
        },
    )


def session(device: str) -> dict[str, Any]:
    """This process: when, by which command, with which code and packages, on what."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": git("rev-parse", "HEAD"),
        "diff": git("diff", "HEAD")[:MAX_DIFF_CHARS],
        "packages": {name: installed(name) for name in PACKAGES},
        "python": platform.python_version(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "device": device},
    }


def git(*arguments: str) -> str:
    """What git says of the checkout that this code runs from; "" outside of one."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def code_version() -> str:
    """The commit of this code, `-dirty` if it was changed since; the package's version without git."""
    return git("describe", "--always", "--dirty") or installed("cosmos-pretraining")


@cache
def source_digest() -> str:
    """Differs once code or a package that figures are computed with does."""
    root = Path(__file__).parent
    files = sorted(path for part in COMPUTING for path in (root / part).rglob("*.py"))
    whole = hashlib.sha256("".join(installed(name) for name in PACKAGES[1:]).encode())
    for path in files:
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def installed(package: str) -> str:
    """The version of an installed package; "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
