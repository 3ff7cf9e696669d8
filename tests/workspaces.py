"""A checkout of one's own, with a small experiment in force, for what works in a DVC workspace."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.stages.examples import ROOT, TINY

SMALL = TINY + "evaluate: {models: [teacher], segmentation: {attention: [plain]}}\n"
"""The same, evaluated in less time."""
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")


def checkout(folder: Path, experiment: str = SMALL) -> Path:
    """A copy of the files of this checkout, committed, with `experiment` as the one in force."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "experiments" / "tiny.yaml").write_text(experiment)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace('experiment: ""', "experiment: tiny"))
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")


def settings(folder: Path, **machine: str) -> dict[str, str]:
    """The environment of commands in a workspace: its own code, the tests' programs, and few threads."""
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    code = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"DEVICE": "cpu", "WORKERS": "0", **machine}
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": code,
        "OMP_NUM_THREADS": "1",
        **{f"COSMOS_{k}": v for k, v in ours.items()},
    }


def dvc(folder: Path, *arguments: str, **machine: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["dvc", *arguments], cwd=folder, env=settings(folder, **machine), capture_output=True, text=True
    )
