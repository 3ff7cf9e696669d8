"""A tiny model, and a checkpoint of it."""

from pathlib import Path

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
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


def written(folder: Path) -> Path:
    student = CONFIG.build()
    checkpoints.write_checkpoint(folder / "c.pt", student, make_teacher(student), CONFIG, epoch=3)
    return folder / "c.pt"
