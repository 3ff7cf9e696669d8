"""Directory of a sweep: its definition, its study, and the run directories of its trials.

runs/<sweep>-<identity>/sweep.yaml, study.journal, labels.json, metrics.jsonl, writer.json,
                        trial-0003/, trial-0003-seed-1/ (run directories), best.json
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from cosmos.config.near_names import near_names
from cosmos.config.search_space import TrialValues
from cosmos.config.settings_file import read_mapping
from cosmos.config.sweep import Sweep
from cosmos.errors import DamagedDataError, InputError
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json, write_text

TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """Trial, or repetition of one with a further seed: the contents of trial.json in its run directory."""

    sweep: str
    """the sweep's id"""
    number: int
    """the trial's number in the study; a repetition has that of the trial that it repeats"""
    seed: int
    """0, or in a repetition the number that is added to the base's seed"""
    asked: TrialValues
    """values that it tries"""
    state: TrialState = "running"
    attempts: int = 0
    """number of jobs that were submitted for it"""
    values: dict[str, float] = field(default_factory=dict)
    """objectives by figure, of a finished trial; of a pruned one the last that was reported"""
    problem: str = ""
    """reason of its failure, in a line"""
    job: str = ""
    """id of its newest job"""
    interruptions: int = 0
    """number of its jobs that a disk, the network or the scheduler ended"""
    data: dict[str, str] = field(default_factory=dict)
    """hash of the data that its objectives were measured on, by <suite>/<dataset>; {} in older records"""

    @property
    def name(self) -> str:
        """Name of its run directory within the sweep's directory."""
        return f"trial-{self.number:04d}" + (f"-seed-{self.seed}" if self.seed else "")

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the record in a run directory. DamagedDataError where it is none."""
        try:
            return cls(**json.loads(run.trial.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise DamagedDataError(
                f"{run.trial}: not the record of a trial ({error}); delete {run.path}"
            ) from None

    def write(self, run: RunDir) -> None:
        """Write the record into a run directory."""
        write_json(run.trial, asdict(self))


@dataclass(frozen=True)
class SweepDir:
    """Paths of a sweep's files, and access to its records."""

    path: Path

    @property
    def definition(self) -> Path:
        """File of the sweep's settings and base parameters."""
        return self.path / "sweep.yaml"

    @property
    def journal(self) -> Path:
        """File of Optuna's study, used where the machine names no database."""
        return self.path / "study.journal"

    @property
    def best(self) -> Path:
        """File of the sweep's conclusion: candidates, importances, the best run."""
        return self.path / "best.json"

    @property
    def own(self) -> RunDir:
        """Sweep directory seen as a run directory: labels, metrics and lease of the controller."""
        return RunDir(self.path)

    def run(self, trial: TrialRecord) -> RunDir:
        """Return the run directory of a trial."""
        return RunDir(self.path / trial.name)

    @property
    def trials(self) -> list[TrialRecord]:
        """Records of all trials, in order of number and seed. DamagedDataError where a file is damaged."""
        records = (TrialRecord.of(RunDir(path.parent)) for path in self.path.glob("trial-*/trial.json"))
        return sorted(records, key=lambda trial: (trial.number, trial.seed))

    def write_definition(self, sweep: Sweep) -> None:
        """Write the definition of a sweep, which makes this its directory."""
        write_text(self.definition, yaml.safe_dump(sweep.dump(), sort_keys=False, allow_unicode=True))

    def sweep(self) -> Sweep:
        """Return the sweep. InputError where there is no definition, DamagedDataError for a damaged one."""
        values: Mapping[str, Any] = read_mapping(self.definition)
        try:
            return Sweep.load(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedDataError(f"{self.definition}: not the definition of a sweep ({error})") from None


def find_sweep_dir(name: str, runs_root: Path) -> SweepDir:
    """Return the directory of a sweep: a path, an id in `runs_root`, or the newest of a name ("": of any).

    InputError lists the sweeps in `runs_root`.
    """
    for path in (Path(name), runs_root / name):
        if name and SweepDir(path).definition.is_file():
            return SweepDir(path)
    definitions = sorted(runs_root.glob("*/sweep.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in definitions:
        if name in ("", path.parent.name.rpartition("-")[0]):
            return SweepDir(path.parent)
    ids = [path.parent.name for path in definitions]
    near = near_names(name, [*ids, *dict.fromkeys(sweep_id.rpartition("-")[0] for sweep_id in ids)])
    raise InputError(f"{name or 'the newest'}: no sweep in {runs_root}; {near}")
