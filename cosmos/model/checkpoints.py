"""The published checkpoint format: read, written, and exported as a plain CLIP.

A checkpoint is a dict of `student` and `teacher` state dicts (keys possibly prefixed `module.`) and `epoch`;
ours adds `config`, so that a file says by itself which model it holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from cosmos.config.params import LossParams, ModelParams, Params
from cosmos.errors import InputError
from cosmos.model.checkpoint_reference import PUBLISHED_ARCHITECTURES
from cosmos.model.cosmos import Cosmos
from cosmos.model.towers import inline_config
from cosmos.run.files import replacing, write_json

PUBLISHED_IMAGE_SIZE = 224


@dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint's model was built from."""

    model: ModelParams
    loss: LossParams
    image_size: int

    @classmethod
    def of(cls, params: Params) -> Self:
        """The model that the parameters describe."""
        return cls(params.model, params.loss, params.views.image_size)

    def build(self) -> Cosmos:
        """The model, freshly initialised."""
        return Cosmos(self.model, self.loss, self.image_size)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's weights, and what else it holds."""

    path: Path
    student: dict[str, Tensor]
    teacher: dict[str, Tensor]
    extra: dict[str, Any]
    """everything else: epoch, step, optimizer, ..."""

    @property
    def config(self) -> ModelConfig | None:
        """The model's configuration, where the file holds one (published files do not)."""
        config = self.extra.get("config")
        if config is None:
            return None
        return ModelConfig(ModelParams(**config["model"]), LossParams(**config["loss"]), config["image_size"])

    def load(self, which: str, config: ModelConfig) -> Cosmos:
        """The `student` or `teacher` as a model; ValueError names what does not fit `config`.

        The model takes the checkpoint's own tensors: they are in memory once.
        """
        state = self.student if which == "student" else self.teacher
        model = config.build()
        check_state(model, state, f"{self.path}: {which}")
        model.load_state_dict(
            {name: state[name].to(value.dtype) for name, value in model.state_dict().items()}, assign=True
        )
        return model


def published_config(name: str) -> ModelConfig | None:
    """Return the configuration of the published checkpoint of that name; None where there is none."""
    if name not in PUBLISHED_ARCHITECTURES:
        return None
    model = ModelParams(architecture=PUBLISHED_ARCHITECTURES[name])
    return ModelConfig(model, LossParams(), PUBLISHED_IMAGE_SIZE)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads tensors and plain values alone: nothing in the file is ever executed.

    Tensors are mapped, not copied: of a file that also holds an optimiser's state, only what is used is read.
    Raises ValueError where the file is damaged, holds other objects, or is no checkpoint of this format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except Exception as error:  # a damaged stream can end in any exception of the unpickler
        raise InputError(f"{path}: not a checkpoint that can be read safely: {_reason(error)}") from None
    if not isinstance(content, dict) or not {"student", "teacher"} <= content.keys():
        raise InputError(
            f"{path}: a checkpoint holds `student` and `teacher`; this holds {_summary(content)}"
        )
    student, teacher = (plain_names(content.pop(which)) for which in ("student", "teacher"))
    return Checkpoint(path, student, teacher, content)


def _reason(error: Exception) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _summary(content: object) -> str:
    return ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the `module.` that DistributedDataParallel puts before its names."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(model: Cosmos, state: dict[str, Tensor], source: str) -> None:
    """Copies `state` into `model`; ValueError names what is missing, unexpected or misshapen."""
    check_state(model, state, source)
    model.load_state_dict(state)


def check_state(model: Cosmos, state: dict[str, Tensor], source: str) -> None:
    """ValueError names what of `state` is missing, unexpected or misshapen for `model`."""
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    problems = (("missing keys", missing), ("unexpected keys", unexpected), ("other shapes", sorted(shapes)))
    found = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems if names)
    if found:
        raise InputError(
            f"{source} does not fit the model ({found}); is model.architecture the checkpoint's?"
        )


def write_checkpoint(path: Path, student: Cosmos, teacher: Cosmos, config: ModelConfig, **extra: Any) -> None:
    """Writes a checkpoint in the published format, atomically; `extra` goes beside the weights.

    Raises ValueError, and leaves no trace, where it cannot be written: most likely the disk is full.
    """
    described = {
        "model": config.model.model_dump(),
        "loss": config.loss.model_dump(),
        "image_size": config.image_size,
    }
    content = {"student": student.state_dict(), "teacher": teacher.state_dict(), "config": described, **extra}
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        raise InputError(
            f"{path}: cannot be written ({_reason(error)}); checkpoints before it are whole: "
            "make room, and the same command continues"
        ) from None


def export_clip(model: Cosmos, config: ModelConfig, path: Path) -> None:
    """Writes the CLIP inside `model` as a state dict that open_clip loads (`pretrained=path`).

    For an inline architecture open_clip's config is written beside it, as `<stem>.json`
    (`open_clip.add_model_config(path.with_suffix(".json"))`).
    """
    extra = (
        "visual.attn_cross_pool.",
        "text_attn_cross_pool.",
        "image_token_mapping.",
        "text_token_mapping.",
    )
    state = model.state_dict()
    clip = {n: v for n, v in state.items() if not n.startswith(extra) and n != "distill_logit_scale"}
    with replacing(path) as temporary:
        torch.save(clip, temporary)
    if config.model.architecture == "inline":
        description = inline_config(config.model)
        description["vision_cfg"]["image_size"] = config.image_size
        write_json(path.with_suffix(".json"), description)
