"""Results of an evaluation: entries, tables and pictures, and the folder of them that DVC owns.

Nothing here imports torch.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmos.errors import CosmosError, TransientError
from cosmos.report.tables import DatasetScores, results_markdown
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing_folder, write_text
from cosmos.run.results import ResultEntry, Results


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

    def raise_problems(self) -> None:
        """Raise an error that lists the problems, if any: TransientError where one may be gone next time."""
        if self.problems:
            error_class = TransientError if self.is_transient else CosmosError
            raise error_class("\n  ".join(["not everything was measured:", *self.problems]))


def entry_of_models(entry: ResultEntry, models: Sequence[str]) -> ResultEntry:
    """Return an entry with these models alone, in this order."""
    parts = {
        key: {model: entry[key][model] for model in models if model in entry[key]}
        for key in ("models", "difference")
    }
    return {**entry, **parts}


def dataset_scores(dataset: str, entry: ResultEntry) -> DatasetScores:
    """Return an entry as tables take it."""
    return DatasetScores(
        dataset=dataset,
        checkpoint=f"{entry['checkpoint']} {entry['checkpoint_sha256'][:8]}".strip(),
        models=entry["models"],
        chance=entry["chance"],
        published=entry["published"].get("figures", {}),
        note=entry["note"],
    )


def entries_markdown(suite: str, entries: Mapping[str, ResultEntry]) -> str:
    """Return the tables of a suite's entries in Markdown."""
    return results_markdown(suite, suite, [dataset_scores(name, entry) for name, entry in entries.items()])


def picture_path(results: Path, dataset: str, model: str) -> Path:
    """Return the path of the picture beside a results file of a model's answers on a dataset."""
    return results.with_name(f"{results.stem}-{dataset}-{model}.png")


def publish_results(evaluated: EvaluationResult, run: RunDir, checkpoint: str, output: Path) -> None:
    """Put the results of this evaluation alone into `output`, in place of what was there.

    They are <suite>.json, <suite>.md and <suite>-<dataset>-<model>.png. Equal results give equal bytes.
    """
    with replacing_folder(output) as folder:
        for suite, entries in evaluated.results.items():
            results = Results(folder / f"{suite}.json", suite)
            for dataset, entry in entries.items():
                results.put(dataset, entry)
                copy_pictures(
                    run.result_file(suite, checkpoint), results.path, dataset, list(entry["models"])
                )
            write_text(results.path.with_suffix(".md"), entries_markdown(suite, entries))


def copy_pictures(source: Path, target: Path, dataset: str, models: Sequence[str]) -> None:
    """Copy a dataset's pictures, as far as there are any, from beside one results file to beside another."""
    for model in models:
        if picture_path(source, dataset, model).exists():
            shutil.copyfile(picture_path(source, dataset, model), picture_path(target, dataset, model))
