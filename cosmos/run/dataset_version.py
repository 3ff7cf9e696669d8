"""Version of the dataset that a run is trained on: its provenance records it, and a run has but one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.files import read_json_object

PROVENANCE_REMEDY = "delete it, and give the same command again"


@dataclass(frozen=True)
class DatasetVersion:
    """Training split of a prepared dataset, as it is on disk."""

    manifest: Path
    sha256: str
    """hash of the manifest's file"""
    content: str
    """hash of what training reads of the manifest; two manifests that differ in other ways have the same"""
    num_samples: int
    num_shards: int
    source: dict[str, Any]
    """the `data` section that it was prepared from"""

    def __str__(self) -> str:
        return describe_version(self.sha256, self.num_samples)

    def as_record(self) -> dict[str, Any]:
        """Return the version as provenance holds it, which does not say where the dataset lies."""
        return {key: value for key, value in vars(self).items() if key != "manifest"}

    def check_unchanged(self, before: "DatasetVersion") -> None:
        """Raise InputError, with both versions, where this is not the data that a job was submitted for."""
        if self.content != before.content:
            raise InputError(
                f"{self.manifest}: {before} when this began, {self} now; give the same command again to "
                "train on the new data, or put the old data back"
            )


def describe_version(sha256: str, num_samples: int | None) -> str:
    """Return number of samples, where it is recorded, and hash of a dataset, for people."""
    name = f"manifest {sha256[:8]}"
    return name if num_samples is None else f"{num_samples} samples ({name})"


def refuse_other_data(run: RunDir, version: DatasetVersion) -> None:
    """Raise InputError, with both versions, where a run was trained on other data than `version`.

    Raises DamagedDataError where the run's provenance is damaged.
    """
    if not run.provenance.exists():
        return
    recorded = read_json_object(run.provenance, "provenance", PROVENANCE_REMEDY, ["data"])
    sha256, dataset = recorded["data"].get("train", ""), recorded.get("dataset", {})
    if sha256 in ("", version.sha256) or dataset.get("content") == version.content:
        return
    raise InputError(
        f"{run.path} was trained on other data, {describe_version(sha256, dataset.get('num_samples'))}, than "
        f"{version.manifest}: {version}; name another run with --run, or put the old data back"
    )
