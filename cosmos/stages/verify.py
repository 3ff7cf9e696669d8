"""Verification: every byte of datasets, runs and sweeps is read, and checked where it has a checksum."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich import box
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cosmos.config.disk_reading import exists, find_paths, is_file, list_names
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.printable_text import print_text, printable
from cosmos.config.progress_bar import ProgressBar
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.preparation import DATASET_PARAMS_FILE
from cosmos.distributed.cores import usable_cores
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    NotPermittedError,
    TransientError,
    convert_os_error,
)
from cosmos.report.terminal import Terminal
from cosmos.run.directory import RunDir
from cosmos.run.sweep_directory import SweepDir, lost_definition, sweeps_of_name
from cosmos.stages.file_checks import (
    FileCheck,
    checks_of_dataset,
    checks_of_run,
    checks_of_sweep,
    naming_unlisted,
)

SubjectKind = Literal["dataset", "run", "sweep"]

UNREAD = (TransientError, NotPermittedError)
"""Classes of errors after which a file may still be whole."""

MAX_THREADS = 8
"""Files that are read at a time, where there are as many cores."""


@dataclass(frozen=True)
class Subject:
    """Folder that is verified."""

    name: str
    kind: SubjectKind
    path: Path

    def checks(self, machine: Machine) -> list[FileCheck]:
        """Return the checks of its files."""
        checks = {
            "dataset": lambda: checks_of_dataset(self.path, machine),
            "run": lambda: checks_of_run(RunDir(self.path)),
            "sweep": lambda: checks_of_sweep(self.path),
        }
        return list(naming_unlisted(checks[self.kind]()))


@dataclass(frozen=True)
class Verification:
    """Result for a dataset, a run or a sweep; its problems are lines that name the file and the remedy."""

    name: str
    kind: SubjectKind
    path: str
    num_files: int
    num_bytes: int
    problems: tuple[str, ...]
    """files that are damaged, missing or not to be used"""
    unread: tuple[str, ...]
    """files that the disk or the network kept back, or that this user may not read"""

    @property
    def state(self) -> str:
        """Summary for people: `whole`, or the number of problems."""
        counts = {"damaged": len(self.problems), "unread": len(self.unread)}
        return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "whole"


def verify(names: Sequence[str], machine: Machine, quiet: bool = False) -> list[Verification]:
    """Read everything of the datasets, runs and sweeps of these names or paths, and print what is damaged.

    A name that a dataset and a run have stands for both. Raises InputError for an unknown name.
    """
    named = (subject for name in dict.fromkeys(names) for subject in find_subjects(name, machine))
    subjects = list({subject.path.resolve(): subject for subject in named}.values())
    checks = {subject: subject.checks(machine) for subject in subjects}
    total = sum(check.num_bytes for each in checks.values() for check in each)
    with reading_progress(total, quiet) as advance, reading_threads() as pool:
        errors = {
            subject: list(pool.map(partial(run_check, advance), each)) for subject, each in checks.items()
        }
    verified = [summarize(subject, checks[subject], errors[subject]) for subject in subjects]
    if not quiet:
        print_verified(verified)
    return verified


def find_subjects(name: str, machine: Machine) -> list[Subject]:
    """Return the dataset and the run or sweep of a name, or the one at a path. InputError where none is.

    The name of a sweep, without its hash, stands for the newest.
    """
    folders = [machine.data_root / name, machine.runs_root / name, Path(name)]
    folders += [sweep.path for sweep in sweeps_of_name(name, machine.runs_root)[:1]]
    if lost := name and lost_definition(name, machine.runs_root):
        folders.append(lost.parent)
    by_place = {path.resolve(): (path, kind_of(path)) for path in folders if name}
    subjects = [Subject(name, kind, path) for path, kind in by_place.values() if kind]
    if subjects:
        return subjects
    roots = machine.data_root, machine.runs_root
    folders = [root / child for root in roots for child in list_names(root)]
    names = [folder.name for folder in folders if os.access(folder, os.X_OK) and kind_of(folder)]
    raise InputError(f"{name}: no dataset, run or sweep; {near_names(name, names)}")


def kind_of(folder: Path) -> SubjectKind | None:
    """Return the kind of what a folder holds, by the files that it has; None for another folder."""
    if SweepDir(folder).is_defined or find_paths(folder, "trial-*/trial.json"):
        return "sweep"
    run = RunDir(folder)
    records = (run.provenance, run.metrics, run.checkpoints, run.lease, run.job, run.labels)
    if any(exists(path) for path in records):
        return "run"
    is_dataset = is_file(folder / DATASET_PARAMS_FILE) or bool(find_paths(folder, f"*/{MANIFEST_FILE}"))
    return "dataset" if is_dataset else None


@contextmanager
def reading_threads() -> Iterator[ThreadPoolExecutor]:
    """Yield threads for reading files; what is not begun is given up when the context is left by an error."""
    pool = ThreadPoolExecutor(min(MAX_THREADS, usable_cores()))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def reading_progress(num_bytes: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of bytes on a terminal, unless `quiet`; yield its function `advance`."""
    columns = TextColumn("verify"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with ProgressBar(*columns, is_shown=not quiet, transient=True) as bar:
        task = bar.add_task("", total=num_bytes)
        yield lambda count: bar.advance(task, count)


def run_check(advance: Callable[[int], None], check: FileCheck) -> CosmosError | None:
    """Return the error that a check ends in; None where the file is whole."""
    try:
        check.read()
    except CosmosError as error:
        return error
    except OSError as error:
        return convert_os_error(error, f"{error.filename}: cannot be read ({error.strerror})")
    finally:
        advance(check.num_bytes)
    return None


def summarize(
    subject: Subject, checks: Sequence[FileCheck], errors: Iterable[CosmosError | None]
) -> Verification:
    """Return the result for a subject of whose checks each ended in an error or None."""
    lines = [(error, " ".join(str(error).split())) for error in errors if error]
    return Verification(
        subject.name,
        subject.kind,
        str(subject.path),
        len(checks),
        sum(check.num_bytes for check in checks),
        tuple(line for error, line in lines if not isinstance(error, UNREAD)),
        tuple(line for error, line in lines if isinstance(error, UNREAD)),
    )


def print_verified(verified: Sequence[Verification]) -> None:
    """Print a table with a line for each result, and below it the problems."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("name", "kind", "files", "size", "state"):
        rows.add_column(heading, justify="right" if heading in ("files", "size") else "left")
    for item in verified:
        cells = item.name, item.kind, f"{item.num_files:,}", decimal(item.num_bytes), item.state
        rows.add_row(*map(printable, cells))
    Terminal().print_table(rows)
    for problem in (line for item in verified for line in (*item.problems, *item.unread)):
        print_text(problem)


def raise_problems(verified: Sequence[Verification]) -> None:
    """Raise DamagedDataError where files are damaged, or TransientError where some could not be read."""
    for error, lists in (
        (DamagedDataError, {item.name: item.problems for item in verified}),
        (TransientError, {item.name: item.unread for item in verified}),
    ):
        if number := sum(map(len, lists.values())):
            state = (
                "are damaged"
                if error is DamagedDataError
                else "could not be read; mend what is named, and try again"
            )
            names = ", ".join(name for name, problems in lists.items() if problems)
            raise error(f"{names}: {number} of {sum(item.num_files for item in verified)} files {state}")
