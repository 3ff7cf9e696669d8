"""Directory of a sweep: its definition, its study, and the run directories of its trials.

runs/<sweep>-<identity>/sweep.yaml, like.json, study.journal, labels.json, metrics.jsonl, writer.json,
                        trial-0003/, trial-0003-seed-1/ (run directories), best.json
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, FiniteFloat, NonNegativeInt, ValidationError

from cosmos.config.disk_reading import exists, find_paths, folders_with, lexists, list_folder
from cosmos.config.near_names import near_names
from cosmos.config.settings_file import read_mapping
from cosmos.config.sweep import Sweep
from cosmos.errors import DamagedDataError, InputError, SupersededError, convert_os_error
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json, write_text
from cosmos.run.records import first_problem, read_record

logger = logging.getLogger(__name__)

TrialState = Literal["running", "paused", "finished", "pruned", "failed"]

TRIAL_FOLDER = re.compile(r"trial-(\d{4,5})(-seed-\d+)?")
"""Name of the run directory of a trial or a repetition, with the trial's number."""


@dataclass(frozen=True)
class RungResult:
    """Objectives of a trial at a rung, up to which it has trained."""

    epochs: NonNegativeInt
    total_epochs: NonNegativeInt
    """epochs of the trial's full budget"""
    values: dict[str, FiniteFloat | None]
    """objectives by figure; None: not finite, or not measured"""


@dataclass(frozen=True)
class TrialRecord:
    """Trial, or repetition of one with a further seed: the contents of trial.json in its run directory."""

    sweep: str
    """the sweep's id"""
    number: Annotated[int, Field(ge=0, lt=100_000)]
    """the trial's number in the study; a repetition has that of the trial that it repeats"""
    seed: NonNegativeInt
    """0, or in a repetition the number that is added to the base's seed"""
    asked: dict[str, bool | int | FiniteFloat | str]
    """values that it tries"""
    state: TrialState = "running"
    attempts: int = 0
    """number of jobs that were submitted for it"""
    values: dict[str, FiniteFloat] = field(default_factory=dict)
    """objectives and limited figures, of a finished trial; of a pruned or paused one the last reported"""
    problem: str = ""
    """reason of its failure, in a line"""
    job: str = ""
    """id of its newest job"""
    interruptions: int = 0
    """number of its jobs that a disk, the network or the scheduler ended"""
    data: dict[str, str] = field(default_factory=dict)
    """hash of the data that its objectives were measured on, by <suite>/<dataset>, or while training by
    evaluation/<dataset>; {} in older records"""
    until: NonNegativeInt = 0
    """epochs after which its newest job pauses; 0: none, it trains to its end"""
    rungs: tuple[RungResult, ...] = ()
    """results at the rungs that it has reached, in order"""
    breaches: list[str] = field(default_factory=list)
    """constraints that it breaks, in words, once it has ended; it never wins"""
    origin: str = ""
    """trial of an earlier sweep whose values it tries, <sweep>/<trial>; "" where all values were drawn"""

    @property
    def name(self) -> str:
        """Name of its run directory within the sweep's directory."""
        return f"trial-{self.number:04d}" + (f"-seed-{self.seed}" if self.seed else "")

    @property
    def has_ended(self) -> bool:
        """True once the trial has finished, was pruned or failed: its record is final."""
        return self.state not in ("running", "paused")

    @property
    def epochs_reached(self) -> int:
        """Epochs of the last rung that it has reached; 0: none."""
        return self.rungs[-1].epochs if self.rungs else 0

    @property
    def standing(self) -> str:
        """State in words: of a paused trial with its epoch."""
        return describe_standing(self.state, self.rungs)

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the record in a run directory.

        Raises DamagedDataError where the file is damaged, InputError where there is none or it may not be
        read, and TransientError where the disk fails.
        """
        remedy = f"restore it, or delete {run.path}: another trial takes its place"
        try:
            return read_record(run.trial, cls, "record of a trial", remedy)
        except OSError as error:
            raise convert_os_error(error, f"{run.trial}: {error.strerror}", remedy=remedy) from None

    def write(self, run: RunDir) -> None:
        """Write the record into a run directory; one that has ended is never written again.

        A file that is no record of this trial is renamed. Raises SupersededError where the trial has ended
        otherwise, as another process recorded it.
        """
        old = self._written_before(run)
        if old and old.has_ended and old != self:
            raise SupersededError(
                f"{run.trial}: the trial has {old.state}, as another process recorded; "
                "the record is kept, and the same command goes on from it"
            )
        if old != self:
            write_json(run.trial, asdict(self))

    def _written_before(self, run: RunDir) -> "TrialRecord | None":
        """Return the record of this trial in a run directory; None where there is none, or none any more."""
        if not exists(run.trial):
            return None
        try:
            old = TrialRecord.of(run)
            if (old.sweep, old.name) == (self.sweep, self.name):
                return old
            problem = f"{run.trial}: the record of {old.name} of {old.sweep}"
        except (DamagedDataError, InputError) as error:
            problem = str(error).partition(";")[0]
        logger.warning("%s; kept as %s, and written anew", problem, set_aside(run.trial).name)
        return None


@dataclass(frozen=True)
class SweepTrials:
    """Trials of a sweep, as their records say, and the folders whose record is of no use."""

    records: list[TrialRecord]
    """records of trials and repetitions, in order of number and seed"""
    problems: dict[str, str]
    """by name of the folder: a line that names the file, the reason and the remedy"""

    @property
    def firsts(self) -> dict[int, TrialRecord]:
        """Records of trials by number, without repetitions."""
        return {record.number: record for record in self.records if not record.seed}

    @property
    def num_numbers(self) -> int:
        """Number of trials up to the last one that has a folder, whatever its record is."""
        folders = [*(record.name for record in self.records), *self.problems]
        matches = (TRIAL_FOLDER.fullmatch(name) for name in folders)
        return max((int(match[1]) + 1 for match in matches if match), default=0)


@dataclass(frozen=True)
class SweepDir:
    """Paths of a sweep's files, and access to its records."""

    path: Path

    @property
    def definition(self) -> Path:
        """File of the sweep's settings and base parameters."""
        return self.path / "sweep.yaml"

    @property
    def is_defined(self) -> bool:
        """True where a sweep has its definition, readable or not: reading says what is wrong with it."""
        return lexists(self.definition)

    @property
    def journal(self) -> Path:
        """File of Optuna's study, used where the machine names no database."""
        return self.path / "study.journal"

    @property
    def best(self) -> Path:
        """File of the sweep's conclusion: candidates, importances, the best run."""
        return self.path / "best.json"

    @property
    def like(self) -> Path:
        """File of the trials of earlier sweeps that this one begins with."""
        return self.path / "like.json"

    @property
    def own(self) -> RunDir:
        """Sweep directory seen as a run directory: labels, metrics and lease of the controller."""
        return RunDir(self.path)

    def run(self, trial: TrialRecord) -> RunDir:
        """Return the run directory of a trial."""
        return RunDir(self.path / trial.name)

    @property
    def trials(self) -> list[TrialRecord]:
        """Records of all trials that can be read, in order of number and seed."""
        return self.read_trials().records

    def read_trials(self) -> SweepTrials:
        """Return the records of all trials, and the problems of those that are of no use.

        Raises TransientError where the disk fails.
        """
        records, problems = list[TrialRecord](), dict[str, str]()
        for run in self.trial_runs:
            try:
                records.append(self._read_trial(run))
            except (DamagedDataError, InputError) as error:
                problems[run.path.name] = str(error)
        return SweepTrials(sorted(records, key=lambda trial: (trial.number, trial.seed)), problems)

    @property
    def trial_runs(self) -> list[RunDir]:
        """Run directories of trials that were begun, by name."""
        runs = (RunDir(path) for path in find_paths(self.path, "trial-*"))
        return [run for run in runs if exists(run.trial) or exists(run.params)]

    def _read_trial(self, run: RunDir) -> TrialRecord:
        """Return the record of a trial. Raises InputError for another trial's, and as `TrialRecord.of`."""
        record = TrialRecord.of(run)
        if record.name != run.path.name or not TRIAL_FOLDER.fullmatch(record.name):
            raise InputError(
                f"{run.trial}: the record of {record.name}, in a folder of another name; "
                "rename the folder, or move it out of the sweep"
            )
        if (sweep := self.defined_sweep) is None:
            return record
        if record.sweep != self.path.name and sweep.id != record.sweep:  # the id takes a while
            raise InputError(
                f"{run.trial}: the record of a trial of {record.sweep}; move the folder out of the sweep"
            )
        if not sweep.draws(record.asked):
            remedy = f"put it back, or delete {run.path}: another trial takes its place"
            raise DamagedDataError(f"{run.trial}: asked: not values of the search space; {remedy}")
        return record

    @cached_property
    def defined_sweep(self) -> Sweep | None:
        """Sweep by its definition; None where that is missing or damaged."""
        try:
            return self.sweep()
        except (DamagedDataError, InputError, FileNotFoundError):
            return None

    def write_definition(self, sweep: Sweep) -> None:
        """Write the definition of a sweep, which makes this its directory."""
        write_text(self.definition, yaml.safe_dump(sweep.dump(), sort_keys=False, allow_unicode=True))

    def sweep(self) -> Sweep:
        """Return the sweep. InputError where there is no definition, DamagedDataError for a damaged one."""
        values: Mapping[str, Any] = read_mapping(self.definition)
        try:
            return Sweep.load(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise DamagedDataError(
                f"{self.definition}: not the definition of a sweep ({reason}); `cosmos sweep` writes it anew"
            ) from None


def describe_standing(state: str, rungs: Sequence[RungResult]) -> str:
    """Return the state of a trial in words: `paused at epoch 2 of 8`."""
    if state != "paused" or not rungs:
        return state
    return f"paused at epoch {rungs[-1].epochs} of {rungs[-1].total_epochs}"


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new one may take its place; return where it is now."""
    number = 1
    while exists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    return path.rename(aside)


def find_sweep_dir(name: str, runs_root: Path) -> SweepDir:
    """Return the directory of a sweep: a path, an id in `runs_root`, or the newest of a name ("": of any).

    InputError lists the sweeps in `runs_root`; DamagedDataError names the definition of one that lost it.
    """
    for path in (Path(name), runs_root / name):
        if name and SweepDir(path).is_defined:
            return SweepDir(path)
    if named := sweeps_of_name(name, runs_root):
        return named[0]
    if name and (lost := lost_definition(name, runs_root)):
        raise DamagedDataError(f"{lost}: missing; put it back: the trials of the sweep are there")
    ids = [folder.path.name for folder in sweeps_of_name("", runs_root)]
    near = near_names(name, [*ids, *dict.fromkeys(sweep_id.rpartition("-")[0] for sweep_id in ids)])
    raise InputError(f"{name or 'the newest'}: no sweep in {runs_root}; {near}")


def sweeps_of_name(name: str, runs_root: Path) -> list[SweepDir]:
    """Return the directories of the sweeps of a name ("": of any), the newest first.

    Raises as `folders_with`.
    """
    sweeps = [SweepDir(folder) for folder in folders_with(runs_root, "sweep.yaml")]
    named = [sweep for sweep in sweeps if name in ("", sweep.path.name.rpartition("-")[0])]
    return sorted(named, key=lambda sweep: sweep.definition.stat().st_mtime, reverse=True)


def lost_definition(name: str, runs_root: Path) -> Path | None:
    """Return the path of the definition of a sweep that has trials and no definition; None without one."""
    ids = [name, *(child for child in list_folder(runs_root) if child.rpartition("-")[0] == name)]
    trials = (trial for each in ids for trial in find_paths(runs_root / each, "trial-*/trial.json"))
    return next((SweepDir(trial.parents[1]).definition for trial in trials), None)
