"""A tiny model, and a checkpoint of it."""

from pathlib import Path
from typing import Any

import torch

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.model.checkpoints import ModelConfig, checkpoint_content, replacing_checkpoint
from cosmos.model.cosmos import Cosmos
from cosmos.model.teacher import make_teacher

CONFIG = ModelConfig(
    ModelParams(
        inline=InlineParams(
            embed_dim=16,
            vision=VisionParams(width=16, layers=1, head_width=8, patch_size=8),
            text=TextParams(width=16, layers=1, heads=2, vocab_size=64, context_length=12),
        )
    ),
    LossParams(),
    32,
)


def write_checkpoint(path: Path, student: Cosmos, teacher: Cosmos, config: ModelConfig, **extra: Any) -> None:
    with replacing_checkpoint(path) as file:
        torch.save(checkpoint_content(student, teacher, config, **extra), file)


def written(folder: Path) -> Path:
    student = CONFIG.build()
    write_checkpoint(folder / "c.pt", student, make_teacher(student), CONFIG, epoch=3)
    return folder / "c.pt"
