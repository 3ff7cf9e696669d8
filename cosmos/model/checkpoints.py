"""Checkpoints in the published format: read and written.

A checkpoint is a dict of `student` and `teacher` state dicts (names possibly with prefixes of wrappers) and
`epoch`; ours adds `config`, so that a file says by itself which model it holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from pydantic import ValidationError
from torch import Tensor

from cosmos.config.params import LossParams, ModelParams, Params
from cosmos.config.validation import explain_validation
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    class_of_os_error,
    describe_os_error,
)
from cosmos.model.checkpoint_reference import PUBLISHED_ARCHITECTURES
from cosmos.model.checkpoint_run import refuse_other_training
from cosmos.model.cosmos import Cosmos
from cosmos.model.export_format import (
    CLIP_FILE,
    EXPORT_FILE,
    PARTS_FILE,
    RE_EXPORT,
    ExportRecord,
    is_exported,
)
from cosmos.model.state_dicts import (
    check_finite_state,
    check_state,
    is_state_dict,
    plain_names,
    state_dict_keys,
)
from cosmos.model.weight_files import join_names, read_weight_file
from cosmos.run.files import replacing
from cosmos.run.provenance import file_sha256

MODELS = {"student", "teacher"}
"""Keys of a checkpoint below which the weights of its models are."""

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

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as checkpoints hold it: plain values, by key."""
        return {
            "model": self.model.model_dump(),
            "loss": self.loss.model_dump(),
            "image_size": self.image_size,
        }

    def build(self) -> Cosmos:
        """Return a freshly initialised model."""
        return Cosmos(self.model, self.loss, self.image_size)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint's file: weights, and everything beside them."""

    path: Path
    student: dict[str, Tensor]
    """weights of the student; empty in a file that holds the teacher alone"""
    teacher: dict[str, Tensor]
    """weights of the teacher; empty in a file that holds the student alone"""
    extra: dict[str, Any]
    """everything else: epoch, step, optimizer, ..."""

    @property
    def config(self) -> ModelConfig | None:
        """Configuration of the models; None in files that hold none, as published ones."""
        values = self.extra.get("config")
        if values is None:
            return None
        problem = f"{self.path}: its `config` is no model's of this version"
        try:
            size = values["image_size"]
            views = {"image_size": size, "local_size": size}
            params = Params.model_validate({"model": values["model"], "loss": values["loss"], "views": views})
        except ValidationError as error:
            raise InputError(f"{problem}:\n{explain_validation(error, Params)}") from None
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"{problem} ({error!r})") from None
        return ModelConfig.of(params)

    def load(self, which: str, config: ModelConfig) -> Cosmos:
        """Return the `student` or `teacher` as a model.

        The model takes the checkpoint's own tensors: they are in memory once. Raises InputError as `state`
        and `check_state` do.
        """
        state = self.state(which)
        inline = config.model.inline
        if config.model.architecture == "inline" and max(inline.vision.layers, inline.text.layers) > len(
            state
        ):
            raise InputError(f"{self.path}: its `config` names more layers than the file has weights")
        with torch.device("meta"):  # takes no memory, whatever size the file claims
            check_state(config.build(), state, f"{self.path}: {which}")
        model = config.build()
        model.load_state_dict(
            {name: state[name].to(value.dtype) for name, value in model.state_dict().items()}, assign=True
        )
        return model

    def state(self, which: str) -> dict[str, Tensor]:
        """Return the weights of the `student` or `teacher`. Raises InputError where the file has none."""
        state = self.student if which == "student" else self.teacher
        if not state:
            other = "teacher" if which == "student" else "student"
            raise InputError(
                f"{self.path}: holds no weights of the {which}, only of the {other}; ask for that one "
                f"(evaluate.models {other}, export --which {other})"
            )
        return state


def published_config(name: str) -> ModelConfig | None:
    """Return the configuration of the published checkpoint of that name; None where there is none."""
    if name not in PUBLISHED_ARCHITECTURES:
        return None
    model = ModelParams(architecture=PUBLISHED_ARCHITECTURES[name])
    return ModelConfig(model, LossParams(), PUBLISHED_IMAGE_SIZE)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the tensors and plain values of a checkpoint's file; nothing in it is ever executed.

    The file of the plain CLIP of an exported model stands for the model, with all its parts. Raises
    InputError for a file that does not exist, is no checkpoint of this format, or lies in a run that another
    training saved it for, DamagedDataError for broken bytes, and TransientError where the disk fails.
    """
    content = read_exported(path) if is_exported_clip(path) else read_weight_file(path)
    if not isinstance(content, dict) or not MODELS & set(state_dict_keys(content)):
        raise InputError(
            f"{path}: a checkpoint holds weights of `student` and `teacher`; "
            f"{describe_content(path, content)}"
        )
    models = {which: content.pop(which, {}) for which in sorted(MODELS)}
    if not all(map(is_state_dict, models.values())):
        raise InputError(f"{path}: its `student` and `teacher` are not both weights by name")
    refuse_other_training(path, content)
    plain = {which: plain_names(state, f"{path}: {which}") for which, state in models.items()}
    return Checkpoint(path, plain["student"], plain["teacher"], content)


def is_exported_clip(path: Path) -> bool:
    """Return True for the file of the plain CLIP of an exported model."""
    return path.name == CLIP_FILE and is_exported(path.parent)


def read_exported(path: Path) -> dict[str, Any]:
    """Return an exported model in the form of a checkpoint's content, from the file of its plain CLIP.

    Raises DamagedDataError for other weights than those of its record; other errors as `read_weight_file`.
    """
    record = ExportRecord.read(path.parent)
    clip, parts = (_read_recorded(file, record) for file in (path, path.with_name(PARTS_FILE)))
    progress = {"epoch": record.origin.epoch, "step": record.origin.step}
    return {record.which: {**clip, **parts}, "config": dict(record.config), **progress}


def _read_recorded(file: Path, record: ExportRecord) -> dict[str, Tensor]:
    """Return the weights in a file of an exported model."""
    state = read_weight_file(file)
    if record.files.get(file.name) != file_sha256(file) or not is_state_dict(state):
        raise DamagedDataError(f"{file}: not the file that {EXPORT_FILE} beside it is of; {RE_EXPORT}")
    return dict(state)


def describe_content(path: Path, content: object) -> str:
    """Return a sentence on what a file holds that is no checkpoint of COSMOS, and on its use."""
    if not isinstance(content, dict):
        return f"this holds a {type(content).__name__}"
    hint = ""
    if is_state_dict(content) or state_dict_keys(content):
        hint = f"; the weights of a plain CLIP are measured as open_clip:ARCHITECTURE:{path}"
    return f"this holds {join_names(list(content)) or 'nothing'}{hint}"


def load_state(model: Cosmos, state: dict[str, Tensor], source: str) -> None:
    """Copy `state` into `model`. Raises InputError where it is another model's or not finite."""
    check_state(model, state, source)
    check_finite_state(state, source)
    model.load_state_dict(state)


def checkpoint_content(student: Cosmos, teacher: Cosmos, config: ModelConfig, **extra: Any) -> dict[str, Any]:
    """Return the content of a checkpoint in the published format; `extra` goes beside the weights."""
    models = {"student": student.state_dict(), "teacher": teacher.state_dict()}
    return {**models, "config": config.as_json(), **extra}


@contextmanager
def replacing_checkpoint(path: Path) -> Iterator[BinaryIO]:
    """Yield a file for torch to save to, which takes the name `path` once it is whole.

    Raises TransientError where the disk is full or fails, and InputError where the folder is not the user's
    to write; the file at `path` then stays as it was, and no other is left.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            yield file
    except CosmosError:
        raise
    except OSError as error:
        raise unwritten(path, error) from error
    except RuntimeError as error:  # torch's writer raises it as it handles the error of the disk
        if not isinstance(error.__context__, OSError):
            raise
        raise unwritten(path, error.__context__) from error


def unwritten(path: Path, error: OSError) -> CosmosError:
    """Return the error of ours for a file of weights that cannot be written."""
    failure = OSError(error.errno, f"cannot be written ({error.strerror or error})", str(path))
    return class_of_os_error(error)(describe_os_error(failure))
