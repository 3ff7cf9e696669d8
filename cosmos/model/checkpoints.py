"""Checkpoints in the published format: read, written, and exported as a plain CLIP.

A checkpoint is a dict of `student` and `teacher` state dicts (keys possibly prefixed `module.`) and `epoch`;
ours adds `config`, so that a file says by itself which model it holds.
"""

import errno
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

from cosmos.config.params import LossParams, ModelParams, Params
from cosmos.errors import DamagedDataError, InputError, convert_os_error
from cosmos.model.checkpoint_reference import PUBLISHED_ARCHITECTURES
from cosmos.model.cosmos import Cosmos
from cosmos.model.towers import inline_config
from cosmos.run.files import replacing, write_json

PUBLISHED_IMAGE_SIZE = 224
"""Pixels on a side of the images that published checkpoints take."""


@dataclass(frozen=True)
class ModelConfig:
    """Configuration that a checkpoint's models are built from."""

    model: ModelParams
    loss: LossParams
    image_size: int

    @classmethod
    def of(cls, params: Params) -> Self:
        """Return the configuration that parameters describe."""
        return cls(params.model, params.loss, params.views.image_size)

    def build(self) -> Cosmos:
        """Return a freshly initialised model."""
        return Cosmos(self.model, self.loss, self.image_size)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint's file: weights, and everything beside them."""

    path: Path
    student: dict[str, Tensor]
    teacher: dict[str, Tensor]
    extra: dict[str, Any]
    """everything else: epoch, step, optimizer, ..."""

    @property
    def config(self) -> ModelConfig | None:
        """Configuration of the models; None in files that hold none, as published ones."""
        values = self.extra.get("config")
        if values is None:
            return None
        try:
            model, loss = ModelParams(**values["model"]), LossParams(**values["loss"])
            return ModelConfig(model, loss, values["image_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: its `config` is no model's of this version: {error}") from None

    def load(self, which: str, config: ModelConfig) -> Cosmos:
        """Return the `student` or `teacher` as a model.

        The model takes the checkpoint's own tensors: they are in memory once. Raises InputError, which names
        the keys that do not fit, for a state dict of another model than `config`'s.
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
    """Read the tensors and plain values of a checkpoint's file; nothing in it is ever executed.

    Tensors are mapped, not copied: of a file that also holds an optimiser's state, only the parts in use are
    read. Raises InputError for a file that does not exist or is no checkpoint of this format,
    DamagedDataError for broken bytes, and TransientError where the disk fails.
    """
    try:
        content = _load_plain_values(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict) or not all(map(is_state_dict, map(content.get, ("student", "teacher")))):
        raise InputError(
            f"{path}: a checkpoint holds weights of `student` and `teacher`; this holds {_summary(content)}"
        )
    student, teacher = (plain_names(content.pop(which)) for which in ("student", "teacher"))
    return Checkpoint(path, student, teacher, content)


def is_state_dict(value: object) -> bool:
    """Return True for a dict of tensors by name, as `state_dict` of a module returns."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _load_plain_values(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        if error.errno != errno.EINVAL:  # torch looks for the end of a file that was cut before its start
            raise
        raise DamagedDataError(f"{path}: not a checkpoint that can be read safely: cut short") from None
    except Exception as error:  # a damaged stream can end in any exception of the unpickler
        kind = InputError if is_whole_archive(path) else DamagedDataError
        raise kind(f"{path}: not a checkpoint that can be read safely: {_reason(error)}") from None


def is_whole_archive(path: Path) -> bool:
    """Return True for a zip archive whose pickles have the checksums that they were written with.

    Such a file that cannot be read was written so by its author; any other file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    archive.read(member)
    except OSError:
        raise
    except Exception:  # as above
        return False
    return True


def _reason(error: Exception) -> str:
    """Return the first line of an error's message; its class where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _summary(content: object) -> str:
    return ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the `module.` that DistributedDataParallel puts before its names."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(model: Cosmos, state: dict[str, Tensor], source: str) -> None:
    """Copy `state` into `model`. Raises InputError as `check_state` does."""
    check_state(model, state, source)
    model.load_state_dict(state)


def check_state(model: Cosmos, state: dict[str, Tensor], source: str) -> None:
    """Raise InputError, naming missing, unexpected and misshapen keys, where `state` is another model's."""
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    misfits = (("missing keys", missing), ("unexpected keys", unexpected), ("other shapes", sorted(shapes)))
    problems = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in misfits if names)
    if problems:
        raise InputError(
            f"{source} does not fit the model ({problems}); is model.architecture the checkpoint's?"
        )


def checkpoint_content(student: Cosmos, teacher: Cosmos, config: ModelConfig, **extra: Any) -> dict[str, Any]:
    """Return the content of a checkpoint in the published format; `extra` goes beside the weights."""
    values = {
        "model": config.model.model_dump(),
        "loss": config.loss.model_dump(),
        "image_size": config.image_size,
    }
    return {"student": student.state_dict(), "teacher": teacher.state_dict(), "config": values, **extra}


@contextmanager
def replacing_checkpoint(path: Path) -> Iterator[BinaryIO]:
    """Yield a file for torch to save to, which takes the name `path` once it is whole.

    Raises TransientError where the disk is full or fails, and InputError where the folder is not the user's
    to write; the file at `path` then stays as it was, and no other is left.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            yield file
    except OSError as error:
        raise convert_os_error(error, _unwritten(path, error)) from error
    except RuntimeError as error:  # torch's writer raises it as it handles the error of the disk
        if not isinstance(error.__context__, OSError):
            raise
        raise convert_os_error(error.__context__, _unwritten(path, error.__context__)) from error


def _unwritten(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written ({error.strerror or error}); files written before are whole: "
        "make room, or give a folder that can be written to, and repeat the command"
    )


def export_clip(model: Cosmos, config: ModelConfig, path: Path) -> None:
    """Write the CLIP inside `model` as a state dict that open_clip loads (`pretrained=path`).

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
    with replacing_checkpoint(path) as file:
        torch.save(clip, file)
    if config.model.architecture == "inline":
        description = inline_config(config.model)
        description["vision_cfg"]["image_size"] = config.image_size
        write_json(path.with_suffix(".json"), description)
