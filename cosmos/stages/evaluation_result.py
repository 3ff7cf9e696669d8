"""Results of an evaluation: entries, tables and pictures, and the folder of them that DVC owns.

Nothing here imports torch.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from cosmos.config.disk_reading import exists
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.figures import Figures
from cosmos.config.identity import short_hash
from cosmos.errors import CosmosError, TransientError
from cosmos.report.published import PUBLISHED_CHECKPOINTS, published_figures
from cosmos.report.tables import DatasetScores, results_markdown
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing_folder, write_text
from cosmos.run.results import (
    ResultEntry,
    Results,
    answers_label,
    image_values_path,
    label_entries,
    results_of_checkpoint,
)


@dataclass(frozen=True)
class EvaluationResult:
    """Results of an evaluation: entries of what was measured, and problems of what was not."""

    results: dict[str, dict[str, ResultEntry]]
    """entries of the datasets that were measured, with the models asked for, by suite and dataset"""
    problems: list[str]
    """reasons why others were not measured"""
    is_first: bool
    """True in the process that prints"""
    is_transient: bool = False
    """True when one of the problems may be gone the next time"""
    is_forbidden: bool = False
    """True when one of the problems is that a file may not be read or written"""

    def raise_problems(self) -> None:
        """Raise an error that lists the problems, if any: TransientError where one may be gone next time."""
        if self.problems:
            error_class = TransientError if self.is_transient else CosmosError
            raise error_class("\n  ".join(["not everything was measured:", *self.problems]))


def entry_of_models(entry: ResultEntry, models: Sequence[str]) -> ResultEntry:
    """Return an entry with these models alone, in this order."""
    parts = ("models", "intervals")
    return {
        **entry,
        **{part: {model: entry[part][model] for model in models if model in entry[part]} for part in parts},
    }


def dataset_scores(suite: str, label: str, entry: ResultEntry) -> DatasetScores:
    """Return an entry as tables take it; `label` names the dataset and, where need be, its data."""
    return DatasetScores(
        dataset=label,
        checkpoint=f"{entry['checkpoint']} {short_hash(entry['checkpoint_sha256'])}".strip(),
        models=entry["models"],
        intervals=entry["intervals"],
        chance=entry["chance"],
        published=figures_published_of(suite, entry),
        note=entry["note"],
    )


def figures_published_of(suite: str, entry: ResultEntry) -> Figures:
    """Return the published figures, as they are now, to set beside an entry's; {} where there are none."""
    checkpoint = entry["published"].get("checkpoint", "")
    is_published = checkpoint in PUBLISHED_CHECKPOINTS
    return published_figures(checkpoint, suite, entry["dataset"]) if is_published else {}


def entries_markdown(suite: str, entries: Mapping[str, ResultEntry]) -> str:
    """Return the tables of a suite's entries, by label, in Markdown."""
    scores = [dataset_scores(suite, label, entry) for label, entry in entries.items()]
    return results_markdown(suite, suite, scores)


def checkpoint_results(runs: Sequence[RunDir], sha256: str) -> dict[str, dict[str, ResultEntry]]:
    """Return the results of the checkpoint with this hash, and of no other, by suite and dataset.

    `runs`: folders with results. Raises DamagedDataError for a damaged file.
    """
    own: dict[str, dict[str, ResultEntry]] = {}
    for suite in get_args(SuiteName):
        entries = [entry for run in runs for entry in suite_entries(run, suite)]
        of_checkpoint = [entry for entry in entries if entry["checkpoint_sha256"] == sha256]
        own |= {suite: label_entries(of_checkpoint)} if of_checkpoint else {}
    return own


def suite_entries(run: RunDir, suite: str) -> list[ResultEntry]:
    """Return the entries of a suite in a run: a checkpoint other than the newest has a file of its own."""
    files = [file for file in run.result_files if re.fullmatch(rf"{suite}(-.*)?\.json", file.name)]
    return [entry for file in files for entry in Results(file, suite).entries().values()]


def picture_path(results: Path, dataset: str, data_hash: str, model: str) -> Path:
    """Return the path of the picture beside a results file of a model's answers on a dataset."""
    return results.with_name(f"{results.stem}-{answers_label(dataset, data_hash, model)}.png")


def saved_picture(results: Path, entry: ResultEntry, model: str) -> Path:
    """Return the path of the picture of an entry's model; of one that an older version named, if there is."""
    path = picture_path(results, entry["dataset"], entry["data_hash"], model)
    older = results.with_name(f"{results.stem}-{entry['dataset']}-{model}.png")
    return path if exists(path) or not exists(older) else older


def is_result_file(name: str) -> bool:
    """Return True for the name of a file that `publish_results` writes."""
    return (
        re.fullmatch(rf"(?s)({'|'.join(get_args(SuiteName))})(-.*\.(png|npz)|\.json|\.md)", name) is not None
    )


def publish_results(evaluated: EvaluationResult, run: RunDir, checkpoint: str, output: Path) -> None:
    """Put the results of this evaluation alone into `output`, in place of what was there.

    They are <suite>.json, <suite>.md and <suite>-<dataset>@<data>-<model>.png and .npz. Equal results, equal
    bytes.
    """
    with replacing_folder(output) as folder:
        for suite, entries in evaluated.results.items():
            results = Results(folder / f"{suite}.json", suite)
            source = results_of_checkpoint(run, suite, checkpoint)
            for dataset, entry in entries.items():
                results.put(dataset, entry)
                copy_evidence(source.path, results.path, entry)
            write_text(results.path.with_suffix(".md"), entries_markdown(suite, entries))


def copy_evidence(source: Path, target: Path, entry: ResultEntry) -> None:
    """Copy an entry's pictures and values of images, as far as there are any, beside another results file."""
    for model in entry["models"]:
        named = entry["dataset"], entry["data_hash"], model
        if exists(picture := saved_picture(source, entry, model)):
            shutil.copyfile(picture, picture_path(target, *named))
        if exists(values := image_values_path(source, *named)):
            shutil.copyfile(values, image_values_path(target, *named))
