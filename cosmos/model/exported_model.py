"""Exported models: a plain CLIP that open_clip loads, beside the parts of COSMOS that it does not have."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import open_clip
import safetensors.torch
from torch import Tensor

from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.export_format import (
    CLIP_FILE,
    OPEN_CLIP_CONFIG_FILE,
    PARTS_FILE,
    ExportRecord,
    ModelOrigin,
)
from cosmos.model.plain_clip import clip_description, is_beyond_clip
from cosmos.model.state_dicts import check_finite_state
from cosmos.model.tokenizer_files import write_tokenizer_files
from cosmos.run.files import write_json


def write_exported_model(
    folder: Path,
    model: Cosmos,
    config: ModelConfig,
    which: Literal["student", "teacher"],
    origin: ModelOrigin,
) -> None:
    """Write a model into an empty folder: its weights, configs, tokenizer and record, all but the model card.

    Equal models, equal bytes. Raises InputError for weights that are not finite.
    """
    state = model.state_dict()
    check_finite_state(state, f"{origin.checkpoint}: not exported: its {which}")
    clip = {name: value for name, value in state.items() if not is_beyond_clip(name)}
    parts = {name: value for name, value in state.items() if is_beyond_clip(name)}
    files = {file: write_weights(folder / file, s) for file, s in ((CLIP_FILE, clip), (PARTS_FILE, parts))}
    write_json(folder / OPEN_CLIP_CONFIG_FILE, open_clip_config(config))
    write_tokenizer_files(folder, model.context_length, model.vocab_size)
    ExportRecord(which, config.as_json(), files, origin).write(folder)


def write_weights(path: Path, state: dict[str, Tensor]) -> str:
    """Write a state dict as safetensors, and return the hash of the file.

    The library's own writer raises no error of the operating system where the disk is full.
    """
    content = safetensors.torch.save(
        {name: value.contiguous() for name, value in state.items()}, metadata={"format": "pt"}
    )
    try:
        path.write_bytes(content)
    except OSError as error:  # of an open file, which does not name it
        raise OSError(error.errno, error.strerror, str(path)) from error
    return hashlib.sha256(content).hexdigest()


def open_clip_config(config: ModelConfig) -> dict[str, Any]:
    """Return open_clip_config.json: the architecture, and the images that the model was evaluated on."""
    return {
        "model_cfg": clip_description(config),
        "preprocess_cfg": {
            "size": config.image_size,
            "mode": "RGB",
            "mean": list(open_clip.OPENAI_DATASET_MEAN),
            "std": list(open_clip.OPENAI_DATASET_STD),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
