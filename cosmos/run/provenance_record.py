"""Provenance of a run, as recorded in provenance.json: data, and code, packages and hardware of sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cosmos.run.records import read_record

PROVENANCE_REMEDY = "delete it, and give the same command again"


@dataclass(frozen=True)
class SessionJob:
    """Job of a session; all is empty where it had none."""

    cluster: str = ""
    id: str = ""
    requeues: int = 0
    nodes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SessionHardware:
    """Hardware of a session, as far as it is recorded."""

    machine: str = ""
    cpus: int | None = None
    device: str = ""
    gpu: str = ""
    ranks: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class RunSession:
    """Session of a run; those of older versions recorded less."""

    started: str = ""
    """UTC, in ISO format"""
    job: SessionJob = SessionJob()
    commit: str = ""
    version: str | None = None
    diff: str = ""
    """changes that are in no commit, as older versions recorded them"""
    diff_sha256: str = ""
    """hash of the changes that are in no commit, under which the record has them; "" for none"""
    packages: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    hardware: SessionHardware = SessionHardware()
    data: Mapping[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    step: int | None = None
    """steps that had been taken when it began; older versions did not record it"""

    @property
    def changes_sha256(self) -> str:
        """Hash of the changes that are in no commit; "" for none."""
        return self.diff_sha256 or (sha256(self.diff.encode()).hexdigest() if self.diff else "")


@dataclass(frozen=True)
class RecordedDataset:
    """Training split that a run is trained on; older versions recorded nothing of it."""

    content: str = ""
    """hash of what training reads of the manifest"""
    num_samples: int | None = None
    num_shards: int | None = None


@dataclass(frozen=True)
class Provenance:
    """Contents of provenance.json."""

    data: Mapping[str, str]
    """hashes of the manifests of the data that the run is trained on, and measured on meanwhile, by name"""
    sessions: list[RunSession]
    dataset: RecordedDataset = RecordedDataset()
    dvc: Mapping[str, str] = field(default_factory=dict)
    """versions of the data that DVC has, by path"""
    requeues: int = 0
    diffs: Mapping[str, str] = field(default_factory=dict)
    """changes of the code that are in no commit, by their hash"""


def read_provenance(path: Path, remedy: str = PROVENANCE_REMEDY) -> Provenance:
    """Return the provenance in a file. Raises as `read_record`."""
    return read_record(path, Provenance, "provenance", remedy)
