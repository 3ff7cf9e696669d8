"""Versions of datasets, without their shards, and checkouts of git."""

import subprocess
from pathlib import Path

from cosmos.run.dataset_version import DatasetVersion


def dataset_version(
    manifest: Path = Path("data/mine/train/manifest.json"),
    sha256: str = "1234567890abcdef",
    content: str = "c",
    num_samples: int = 16,
) -> DatasetVersion:
    return DatasetVersion(manifest, sha256, content, num_samples, 1, {"name": "mine", "source": "folder"})


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def make_checkout(folder: Path) -> Path:
    """Make a checkout with a package of one module, and return the package."""
    package = folder / "cosmos"
    package.mkdir(parents=True)
    (package / "loss.py").write_text("scale = 1\n")
    (folder / ".gitignore").write_text(".env\n*.pyc\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "begin")
    return package
