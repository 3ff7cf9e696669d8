"""The folder of a sweep: its definition, its study, and the run directories of its trials.

runs/<sweep>-<identity>/sweep.yaml, study.journal, labels.json, metrics.jsonl, writer.json,
                        trial-0003/, trial-0003-seed-1/ (run directories), best.json
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from cosmos.config.experiment import read_mapping
from cosmos.config.search_space import Asked
from cosmos.config.sweep import Sweep
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json, write_text

TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """A trial, or a repetition of one with a further seed; trial.json of its run directory."""

    sweep: str
    """the sweep's id"""
    number: int
    """the trial's number in the study; a repetition has that of the trial that it repeats"""
    seed: int
    """0: the first; a repetition's is further than the first one's by this"""
    asked: Asked
    state: TrialState = "running"
    attempts: int = 0
    """jobs that were submitted for it"""
    values: dict[str, float] = field(default_factory=dict)
    """objectives, by figure, once it has finished; of a pruned one the last that was seen"""
    problem: str = ""
    """why it failed, in a line"""
    job: str = ""
    """id of its newest job"""

    @property
    def name(self) -> str:
        """Its folder in the sweep's."""
        return f"trial-{self.number:04d}" + (f"-seed-{self.seed}" if self.seed else "")

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """The record in a run directory. ValueError where it is damaged."""
        try:
            return cls(**json.loads(run.trial.read_text(encoding="utf-8")))
        except (TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{run.trial}: not the record of a trial ({error}); delete {run.path}") from None

    def write(self, run: RunDir) -> None:
        """Puts it on record."""
        write_json(run.trial, asdict(self))


@dataclass(frozen=True)
class SweepDir:
    """Where each file of a sweep lies."""

    path: Path

    @property
    def definition(self) -> Path:
        """The sweep, with the parameters of its base."""
        return self.path / "sweep.yaml"

    @property
    def journal(self) -> Path:
        """Optuna's study, where the machine names no database."""
        return self.path / "study.journal"

    @property
    def best(self) -> Path:
        """What came out."""
        return self.path / "best.json"

    @property
    def own(self) -> RunDir:
        """The folder as the directory of a run: labels, metrics and the process that leads it."""
        return RunDir(self.path)

    def run(self, trial: TrialRecord) -> RunDir:
        """The run directory of a trial."""
        return RunDir(self.path / trial.name)

    @property
    def trials(self) -> list[TrialRecord]:
        """The trials on record, by number and seed."""
        found = (TrialRecord.of(RunDir(path.parent)) for path in self.path.glob("trial-*/trial.json"))
        return sorted(found, key=lambda trial: (trial.number, trial.seed))

    def open(self, sweep: Sweep) -> None:
        """Makes the folder that of this sweep."""
        write_text(self.definition, yaml.safe_dump(sweep.dump(), sort_keys=False, allow_unicode=True))

    def sweep(self) -> Sweep:
        """The sweep whose folder it is. ValueError where it is none's."""
        values: Mapping[str, Any] = read_mapping(self.definition)
        try:
            return Sweep.load(values)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.definition}: not the definition of a sweep ({error})") from None


def find_sweep(name: str, runs_root: Path) -> SweepDir:
    """The sweep that a person means: a folder, one of runs_root, or the newest of that name, or at all ("").

    ValueError lists the sweeps that there are.
    """
    for path in (Path(name), runs_root / name):
        if name and SweepDir(path).definition.is_file():
            return SweepDir(path)
    there = sorted(runs_root.glob("*/sweep.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in there:
        if name in ("", path.parent.name.rpartition("-")[0]):
            return SweepDir(path.parent)
    listed = ", ".join(path.parent.name for path in there) or "none"
    raise InputError(f"{name or 'the newest'}: no sweep in {runs_root}; there are: {listed}")
