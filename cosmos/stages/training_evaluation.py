"""Evaluation of the models of a training: by its own ranks, or by a job that reads a checkpoint of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cosmos.config.figures import training_figure
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_share
from cosmos.config.params import Params
from cosmos.distributed.exchange import on_ranks_alike
from cosmos.distributed.group import ProcessRank
from cosmos.distributed.whereabouts import doing
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.embedding_cache import NoCache
from cosmos.evaluation.suite import suites
from cosmos.model.checkpoints import ModelConfig, read_checkpoint
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder, make_encoder
from cosmos.run.results import hash_data, overall_figures
from cosmos.stages.evaluate import data_files
from cosmos.stages.ranks import joined_ranks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingEvaluation:
    """Evaluation by the suites of `evaluate.while_training`, by all ranks together."""

    datasets: dict[tuple[str, str], OpenDataset]
    """datasets to measure, by suite and name"""
    params: Params
    machine: Machine
    process: ProcessRank

    @classmethod
    def open(cls, params: Params, machine: Machine, process: ProcessRank) -> Self:
        """Open the datasets that the parameters name; none where training does not evaluate.

        Raises InputError for a dataset with missing files, before the first step.
        """
        by_name = suites(params.evaluate)
        names = params.evaluate.while_training if params.pretrain.evaluate_every_epochs else ()
        cards = [card for name in dict.fromkeys(names) for card in by_name[name].requested()]
        datasets = {(card.suite, card.name): card.open(params, machine) for card in cards}
        return cls(datasets, params, machine, process)

    def __call__(self, models: dict[str, Cosmos]) -> dict[str, float]:
        """Measure the models of a training that the settings name; return figures by `training_figure`."""
        image_size, precision = self.params.views.image_size, self.params.evaluate.precision
        figures: dict[str, float] = {}
        for which in self.params.evaluate.models:
            with evaluation_mode(models[which]) as model:
                encoder = CosmosEncoder(model, image_size, self.process.device, precision)
                figures |= self.measure(which, encoder)
        if self.process.is_first:
            log_recalls(figures)
        return figures

    def measure_checkpoint(self, path: Path) -> dict[str, Any]:
        """Measure the models in a checkpoint of the training; return its step and the same figures."""
        checkpoint, precision = read_checkpoint(path), self.params.evaluate.precision
        config, figures = checkpoint.config or ModelConfig.of(self.params), dict[str, float]()
        for which in self.params.evaluate.models:
            encoder = make_encoder(checkpoint, which, config, self.process.device, precision)
            figures |= self.measure(which, encoder)
        return {"step": checkpoint.extra["step"], "figures": figures}

    def measure(self, which: str, encoder: Encoder) -> dict[str, float]:
        """Measure one model on every dataset."""
        embedder, figures = Embedder(encoder, self.machine, NoCache(), quiet=True), dict[str, float]()
        for (suite, name), dataset in self.datasets.items():
            with doing(f"{suite} on {name}"):
                measured = overall_figures(dataset.measure(embedder).figures)
            figures |= {
                training_figure(suite, name, which, metric): value for metric, value in measured.items()
            }
        return figures

    def data_hashes(self) -> dict[str, str]:
        """Return the hash of each dataset's files, as results have it; of other suites by <suite>/<name>."""
        return {
            name if suite == "retrieval" else f"{suite}/{name}": hash_data(
                {"data": data_files(dataset), **dataset.size}
            )
            for (suite, name), dataset in self.datasets.items()
        }


def evaluate_checkpoint(params: Params, machine: Machine, path: Path) -> dict[str, Any]:
    """Measure a checkpoint of a training, as the training itself would; return its step and figures.

    Raises InputError for a dataset with missing files, and the errors of `read_checkpoint`.
    """
    with joined_ranks(machine, path.parents[1]) as process:
        evaluation = on_ranks_alike(lambda: TrainingEvaluation.open(params, machine, process))
        return evaluation.measure_checkpoint(path)


def log_recalls(figures: dict[str, float]) -> None:
    """Log the recalls among the figures of an evaluation, or all where there are none."""
    recalls = {name: value for name, value in figures.items() if name.endswith("R@1")}
    shown = ", ".join(f"{name} {format_share(value)}" for name, value in (recalls or figures).items())
    logger.info("evaluation: %s", shown)


@contextmanager
def evaluation_mode(model: Cosmos) -> Iterator[Cosmos]:
    """Put a model into evaluation mode, and afterwards back into the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(training)
