"""A tiny model, random batches, and runs of six steps."""

from collections.abc import Iterator
from pathlib import Path

import torch

from cosmos.config.machine import Machine
from cosmos.config.params import (
    InlineParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    TextParams,
    ViewParams,
    VisionParams,
)
from cosmos.data.batch import Batch
from cosmos.data.readable import DamageLimit
from cosmos.distributed.group import ProcessRank
from cosmos.launch.submission import JobSpec
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import caption_lengths
from cosmos.run.directory import RunDir
from cosmos.training.evaluation_queue import JobOfCheckpoint
from cosmos.training.opening import open_training
from cosmos.training.step import Learner
from cosmos.training.step_plan import StepPlan
from cosmos.training.trainer import ModelEvaluation, Trainer

CPU = ProcessRank(0, 1, torch.device("cpu"))
PLAN = StepPlan.of(steps_per_epoch=3, epochs=2)
LIMIT = DamageLimit(Path("data"), {}, num_samples=30, num_left_out=0, max_damaged=0.1)


def tiny_params(pretrain: PretrainParams | None = None, loss: LossParams | None = None) -> Params:
    inline = InlineParams(
        embed_dim=16,
        vision=VisionParams(width=16, layers=2, head_width=8, patch_size=8),
        text=TextParams(width=16, layers=2, heads=2, vocab_size=64, context_length=12),
    )
    return Params(
        model=ModelParams(inline=inline),
        views=ViewParams(image_size=32, local_size=16, num_local_crops=2, num_captions=4),
        pretrain=pretrain or PretrainParams(batch_size=8),
        loss=loss or LossParams(),
    )


def random_batch(size: int = 8, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 60, (size, 4, 12), generator=g)
    for row in tokens.flatten(0, 1):
        end = int(torch.randint(2, 12, (), generator=g))
        row[end], row[end + 1 :] = 63, 0
    return Batch(
        torch.randn(size, 2, 3, 32, 32, generator=g),
        torch.randn(size, 2, 3, 16, 16, generator=g),
        tokens,
        caption_lengths(tokens),
        tuple(map(str, range(size))),
    )


def make_learner(params: Params, machine: Machine, process: ProcessRank = CPU) -> Learner:
    return Learner(ModelConfig.of(params), params.pretrain, machine, process)


def params(**pretrain: object) -> Params:
    values = {"epochs": 2, "batch_size": 8, "log_every_steps": 1, "warmup_steps": 2, **pretrain}
    return tiny_params(PretrainParams.model_validate(values))


def no_figures(models: dict[str, Cosmos]) -> dict[str, float]:
    return {f"{name}/scale": float(model.logit_scale.detach()) for name, model in models.items()}


def no_job(checkpoint: Path) -> JobSpec:
    raise AssertionError(f"a job for {checkpoint}")


def make_trainer(
    folder: Path,
    p: Params,
    machine: Machine | None = None,
    evaluate: ModelEvaluation = no_figures,
    plan: StepPlan = PLAN,
    job_of: JobOfCheckpoint = no_job,
) -> Trainer:
    machine = machine or Machine(checkpoint_every_steps=2, data_wait_minutes=0)
    learner = make_learner(p, machine)
    return open_training(RunDir(folder), learner, plan, machine, evaluate, job_of, LIMIT)


def batches(start: int, stop: int = 6) -> Iterator[Batch]:
    return (random_batch(seed=step) for step in range(start, stop))


def weights(path: Path) -> dict[str, torch.Tensor]:
    saved = checkpoints.read_checkpoint(path)
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}
