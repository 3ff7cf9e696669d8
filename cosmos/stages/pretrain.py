"""Pretrain: a run directory goes from wherever it stands to its last checkpoint."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.loader import find_readable, make_loader
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.shards import ShardedSamples
from cosmos.distributed.exchange import on_first_rank
from cosmos.distributed.group import ProcessRank, barrier, process_group
from cosmos.evaluation.cache import NoCache
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.suite import suites
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder
from cosmos.run import provenance
from cosmos.run.directory import open_run
from cosmos.stages.logs import logging_to_run, print_on_first_rank
from cosmos.training.step import Learner
from cosmos.training.trainer import ModelEvaluation, StepPlan, Trainer

logger = logging.getLogger(__name__)

RANK_TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for another: longer than an evaluation's share can differ."""


def pretrain(params: Params, machine: Machine, path: Path, quiet: bool = False) -> dict[str, Any]:
    """Trains, from wherever the run at `path` stands, to the end; returns where the checkpoint is.

    Raises Interrupted when a signal asked to stop, DivergedError when the loss stays non-finite,
    SupersededError when another process took over the run, and InputError for data or parameters that do not
    fit.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    folder = machine.dataset(params.data.name, "train")
    samples = ShardedSamples(folder, machine)
    with process_group(machine.device, RANK_TIMEOUT) as ranks:
        run = on_first_rank(lambda: open_run(path, params))
        readable = find_readable(samples, params)
        steps_per_epoch = readable.order.steps_per_epoch
        plan = StepPlan(steps_per_epoch, steps_per_epoch * params.pretrain.epochs)
        learner = Learner(params, machine, ranks)
        with logging_to_run(run, ranks):
            trainer = Trainer(run, params, machine, learner, plan, in_training(params, machine, ranks))
            print_on_first_rank(f"{run.path}: step {trainer.step} of {plan.total_steps}", ranks, quiet)
            with trainer.lease.beating() if ranks.is_first else nullcontext():
                if not trainer.is_complete:
                    data, device = {"train": folder / MANIFEST_FILE}, str(ranks.device)
                    on_first_rank(lambda: provenance.record_session(run.provenance, data, device))
                    left = plan.total_steps - trainer.step
                    batches = make_loader(
                        readable, params, machine, ranks.rank, ranks.world_size, trainer.step, left
                    )
                    with closing(batches):
                        trainer.train(batches)
            barrier()
        checkpoint = run.checkpoint(plan.total_steps)
        print_on_first_rank(f"checkpoint: {checkpoint}\nmetrics: {run.metrics}", ranks, quiet)
        return {"run": str(run.path), "checkpoint": str(checkpoint), "steps": plan.total_steps}


def in_training(params: Params, machine: Machine, ranks: ProcessRank) -> ModelEvaluation:
    """Retrieval on the configured datasets, of the models as they are, by all ranks together.

    The datasets are opened now, where they will be needed: what they lack shows before the first step.
    """
    if not params.pretrain.evaluate_every_epochs:
        return lambda models: {}
    cards = suites(params.evaluate)["retrieval"].wanted()
    datasets = {card.name: card.open(params, machine) for card in cards}

    def evaluate_now(models: dict[str, Cosmos]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for which in params.evaluate.models:
            with evaluation_mode(models[which]) as model:
                encoder = CosmosEncoder(
                    model, params.views.image_size, ranks.device, params.evaluate.precision
                )
                embedder = Embedder(encoder, machine, NoCache(), quiet=True)
                for name, dataset in datasets.items():
                    found = dataset.measure(embedder)
                    figures |= {f"{which}/{name}/{metric}": value for metric, value in found.items()}
        if ranks.is_first:
            first = (f"{name} {value:.1%}" for name, value in figures.items() if name.endswith("R@1"))
            logger.info("retrieval: %s", ", ".join(first))
        return figures

    return evaluate_now


@contextmanager
def evaluation_mode(model: Cosmos) -> Iterator[Cosmos]:
    """The model in evaluation mode, and back in the one that it was in."""
    training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(training)
