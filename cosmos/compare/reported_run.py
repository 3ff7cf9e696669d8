"""Run that is reported: its contender, results, curves and provenance, as far as its files can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from cosmos.compare.comparison import (
    Contender,
    contender_of_runs,
    contenders_of_sweep,
    find_run_or_sweep,
)
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.report.curves import MetricsLine
from cosmos.report.training_plots import RunTraining
from cosmos.run.directory import RunDir, load_saved_params
from cosmos.run.metrics import read_metrics
from cosmos.run.provenance_record import Provenance, read_provenance
from cosmos.run.records import TolerantReader
from cosmos.run.results import Results
from cosmos.run.sweep_directory import SweepDir
from cosmos.stages.report_facts import Entries, resume_marks

NO_PROVENANCE = Provenance({}, [])


@dataclass(frozen=True)
class ReportedRun:
    """Run, or winner of a sweep with its repetitions, that is reported."""

    contender: Contender
    folder: Path
    """folder of the run or of the sweep"""
    run: RunDir
    """the run; of a winner its first seed"""
    params: Params | None
    """None where they cannot be read"""
    lines: Sequence[MetricsLine]
    provenance: Provenance
    results: dict[str, Entries]
    """entries of results by suite"""
    remarks: Sequence[str]
    """choice of the sweep's winner, and files that cannot be read"""

    @property
    def label(self) -> str:
        """Name of the run for people."""
        return self.contender.name

    @property
    def training(self) -> RunTraining:
        """Training of the run, as its curves are drawn."""
        size = self.params.pretrain.batch_size if self.params else 1
        return RunTraining(self.label, self.lines, size, resume_marks(self.provenance.sessions))


def read_reported_run(name: str, machine: Machine) -> ReportedRun:
    """Return the run, or the leading trial of the sweep, that a name means.

    Raises InputError for a name of neither.
    """
    folder = find_run_or_sweep(name, machine)
    if isinstance(folder, SweepDir):
        contender = contenders_of_sweep(folder, machine)[0]
        remarks = [describe_choice(folder, contender)]
    else:
        contender, remarks = contender_of_runs([folder], machine), []
    return read_parts(contender, folder.path, remarks)


def describe_choice(folder: SweepDir, contender: Contender) -> str:
    """Return the choice of a trial among those of its sweep, in a sentence."""
    trial = Path(contender.name).name
    if contender.is_winner:
        return f"{trial} is the winner of {folder.path.name}."
    return f"{folder.path.name} has no winner; {trial} is the first of its trials."


def read_parts(contender: Contender, folder: Path, remarks: Sequence[str]) -> ReportedRun:
    """Return the run of a contender with all that its files have."""
    run, reader = contender.runs[0], TolerantReader()
    none: Entries = {}
    results = {
        suite: reader.read(run.result_file(suite), Results(run.result_file(suite), suite).entries, none)
        for suite in get_args(SuiteName)
    }
    no_params: Params | None = None
    params = reader.read(run.params, partial(load_saved_params, run), no_params)
    no_lines: list[dict[str, Any]] = []
    lines = reader.read(run.metrics, partial(read_metrics, run.metrics), no_lines)
    provenance = reader.read(run.provenance, partial(read_provenance, run.provenance), NO_PROVENANCE)
    problems = [problem for problem in reader.problems if problem not in contender.problem]
    return ReportedRun(
        contender,
        folder,
        run,
        params,
        lines,
        provenance,
        results,
        [*remarks, *filter(None, [contender.problem]), *problems],
    )
