"""Workloads of tests: of the tiny model, and of shipped experiments on any number of GPUs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from cosmos.config.experiment import EXPERIMENTS, PARAMS_YAML, Experiment, load_experiment
from cosmos.config.gpus import gpu_of_kind
from cosmos.config.params import Params
from cosmos.plan.dataset_facts import ASSUMED_CAPTIONS, BYTES_PER_SAMPLE, assume_lengths
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.workload import DatasetFacts, Workload

ROOT = Path(__file__).parents[2]

Rows = tuple[tuple[int, ...], ...]


def facts(params: Params, num_samples: int, lengths: Rows | None = None) -> DatasetFacts:
    """Return facts of a dataset whose captions have these lengths; None: those that are assumed."""
    rows = lengths or assume_lengths(params.views, ModelDimensions.of(params).context_length)
    return DatasetFacts(num_samples, "test", BYTES_PER_SAMPLE, "test", rows, ASSUMED_CAPTIONS)


@cache
def load_shipped(name: str) -> Experiment:
    """Return a shipped experiment over the shipped params.yaml."""
    return load_experiment(str(ROOT / EXPERIMENTS / name), base=ROOT / PARAMS_YAML)


@cache
def facts_of_shipped(name: str) -> DatasetFacts:
    """Return the facts of the data of a shipped experiment, as it states them or as they are assumed."""
    experiment = load_shipped(name)
    return facts(experiment.params, experiment.samples)


def shipped(name: str, nodes: int = 0, gpu: str = "a100-40gb") -> Workload:
    """Return the workload of a shipped experiment, by default on the nodes that it asks for."""
    experiment = load_shipped(name)
    workload = Workload(
        experiment.params,
        facts_of_shipped(name),
        nodes=nodes or experiment.needs["nodes"],
        ranks_per_node=experiment.needs["gpus_per_node"],
        gpu=gpu_of_kind(gpu),
        augments_on_device=True,
    )
    return replace(workload, published=experiment.published)
