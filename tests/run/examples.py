"""Versions of datasets, without their shards."""

from pathlib import Path

from cosmos.run.dataset_version import DatasetVersion


def dataset_version(
    manifest: Path = Path("data/mine/train/manifest.json"),
    sha256: str = "1234567890abcdef",
    content: str = "c",
    num_samples: int = 16,
) -> DatasetVersion:
    return DatasetVersion(manifest, sha256, content, num_samples, 1, {"name": "mine", "source": "folder"})
