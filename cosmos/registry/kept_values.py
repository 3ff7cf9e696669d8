"""Values of images that lie beside the results of runs, for intervals and for comparisons of runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cosmos.errors import CosmosError
from cosmos.evaluation.value_file import read_image_values
from cosmos.run.directory import RunDir
from cosmos.run.results import ResultEntry, Results, data_label, image_values_path
from cosmos.run.statistics.image_values import FloatArray, ImageValues, drop_uncounted
from cosmos.run.statistics.seed_statistics import SeedImages, SeedStatistics

logger = logging.getLogger(__name__)

MAX_ROUNDING = 1e-5
"""Largest distance between a figure and the mean of values that it is the mean of: these have 32 bits."""


@dataclass(frozen=True, eq=False)
class RunValues:
    """Values of images of a run, each file read once."""

    run: RunDir

    def find(self, figure: str, value: float) -> tuple[str, FloatArray] | None:
        """Return the hash of the images and data, and the values, that a figure of this value is the mean of.

        None where none are kept, as of losses and of results of older versions, or where those that are kept
        belong to another result.
        """
        stem, _, rest = figure.partition("/")
        label, _, rest = rest.partition("/")
        model, _, metric = rest.partition("/")
        entries = self._entries(stem) if metric else {}
        entry = entries.get(label) or next((e for e in entries.values() if label_of_data(e) == label), None)
        if entry is None:
            return None
        kept = self._read(stem, entry["dataset"], entry["data_hash"], model)
        values = kept.by_metric.get(metric)
        if values is None or not is_mean(value, values):
            return None
        return f"{entry['data_hash']} {kept.image_set} {len(values)}", values

    @cached_property
    def _entries_of(self) -> dict[str, dict[str, ResultEntry]]:
        return {}

    def _entries(self, stem: str) -> dict[str, ResultEntry]:
        """Return the entries of a results file; {} where it is damaged, which lists of runs say."""
        if stem not in self._entries_of:
            try:
                self._entries_of[stem] = Results(self.run.result_file(stem), stem).entries()
            except (CosmosError, OSError):
                self._entries_of[stem] = {}
        return self._entries_of[stem]

    @cached_property
    def _files(self) -> dict[tuple[str, ...], ImageValues]:
        return {}

    def _read(self, stem: str, dataset: str, data_hash: str, model: str) -> ImageValues:
        """Return the values of a model's file; none without a file, and, with a warning, of a damaged one."""
        key = stem, dataset, data_hash, model
        if key not in self._files:
            self._files[key] = ImageValues("")
            try:
                path = image_values_path(self.run.result_file(stem), dataset, data_hash, model)
                self._files[key] = read_image_values(path)
            except FileNotFoundError:
                pass
            except (CosmosError, OSError, ValueError) as error:  # a name that no file can have
                logger.warning("%s", error)
        return self._files[key]


def is_mean(value: float, values: FloatArray) -> bool:
    """Return True where a figure is the mean of these values of images; others belong to another result."""
    counted = drop_uncounted(values)
    return len(counted) > 0 and abs(float(counted.mean()) - value) <= MAX_ROUNDING


def label_of_data(entry: ResultEntry) -> str:
    """Return the name of an entry with its data, by which lists name it beside entries of other data."""
    return data_label(entry["dataset"], entry["data_hash"])


def read_statistics(runs: Sequence[RunValues], figure: str, values: Sequence[float]) -> SeedStatistics:
    """Return the statistics of a figure that runs, one per seed, have these values of."""
    kept = [run.find(figure, value) for run, value in zip(runs, values, strict=True)]
    present = [part for part in kept if part]
    if len(present) < len(kept) or len({image_set for image_set, _ in present}) != 1:
        return SeedStatistics.over(values)
    image_set = present[0][0]
    return SeedStatistics.over(values, SeedImages(image_set, np.stack([part for _, part in present])))
