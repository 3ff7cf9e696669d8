"""Version of the dataset that a run is trained on: its provenance records it, and a run has but one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cosmos.config.disk_reading import exists
from cosmos.config.identity import short_hash
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.provenance_record import read_provenance


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
    name = f"manifest {short_hash(sha256)}"
    return name if num_samples is None else f"{num_samples} samples ({name})"


def refuse_other_data(run: RunDir, version: DatasetVersion) -> None:
    """Raise InputError, with both versions, where a run was trained on other data than `version`.

    Raises DamagedDataError where the run's provenance is damaged.
    """
    recorded = RecordedVersion.of(run)
    if recorded.is_known and not recorded.is_same(version):
        raise InputError(
            f"{run.path} was trained on other data, {recorded}, than "
            f"{version.manifest}: {version}; name another run with --run, or put the old data back"
        )


@dataclass(frozen=True)
class RecordedVersion:
    """Version of the data that a run was trained on, as far as its provenance says."""

    sha256: str = ""
    """hash of the manifest's file; "" where none is recorded"""
    content: str = ""
    num_samples: int | None = None

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the version that a run recorded. DamagedDataError where its provenance is damaged."""
        if not exists(run.provenance):
            return cls()
        recorded = read_provenance(run.provenance)
        dataset = recorded.dataset
        return cls(recorded.data.get("train", ""), dataset.content, dataset.num_samples)

    def __str__(self) -> str:
        return describe_version(self.sha256, self.num_samples)

    @property
    def is_known(self) -> bool:
        """True where a version is recorded."""
        return self.sha256 != ""

    def is_same(self, version: DatasetVersion) -> bool:
        """Return True where a dataset is the one that was trained on."""
        return version.sha256 == self.sha256 or version.content == self.content
