"""Plain CLIPs: the one inside a model of COSMOS, as open_clip describes it, and baselines read from files."""

from pathlib import Path
from typing import Any

from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from cosmos.errors import InputError
from cosmos.model.checkpoints import MODELS, ModelConfig
from cosmos.model.state_dicts import check_state, is_state_dict, plain_names, state_dict_keys
from cosmos.model.towers import inline_config, named_config
from cosmos.model.weight_files import join_names, read_weight_file

BEYOND_CLIP = (
    "visual.attn_cross_pool.",
    "text_attn_cross_pool.",
    "image_token_mapping.",
    "text_token_mapping.",
    "distill_logit_scale",
)
"""Beginnings of the names of weights that a plain CLIP does not have."""


def is_beyond_clip(name: str) -> bool:
    """Return True for the name of a weight that a plain CLIP does not have."""
    return name.startswith(BEYOND_CLIP)


def clip_description(config: ModelConfig) -> dict[str, Any]:
    """Return the plain CLIP's config in the form of open_clip's own."""
    model = config.model
    description = inline_config(model) if model.architecture == "inline" else named_config(model.architecture)
    description["vision_cfg"]["image_size"] = config.image_size
    if config.loss.contrastive == "siglip":
        description["init_logit_bias"] = config.loss.siglip_bias
    return description


def load_plain_clip(model: nn.Module, path: Path) -> None:
    """Load the weights of a file into a model of open_clip.

    Raises InputError where the file holds no plain CLIP, or another one than `model`; DamagedDataError and
    TransientError as `read_weight_file`. open_clip would resize positions to another image size in silence.
    """
    state = convert_state_dict(model, read_plain_clip(path))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in {"logit_scale", "logit_bias"} & state.keys() & model.state_dict().keys():
        state[name] = state[name].reshape(model.state_dict()[name].shape)  # a number, or a vector of one
    check_state(model, state, str(path))
    model.load_state_dict(state)


def read_plain_clip(path: Path) -> dict[str, Tensor]:
    """Return the only state dict in a file, which may lie below a key such as `state_dict` or `ema`.

    Raises InputError for a checkpoint of COSMOS, and for a file with no state dict or with several.
    """
    content = read_weight_file(path)
    keys = state_dict_keys(content) if isinstance(content, dict) else []
    if MODELS & set(keys):
        raise InputError(f"{path}: a checkpoint of COSMOS, which is named without `open_clip:`")
    if len(keys) > 1:
        raise InputError(f"{path}: holds several models ({join_names(keys)}); save the weights of one alone")
    state = content[keys[0]] if keys else content
    if not state or not is_state_dict(state):
        names = join_names(list(content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: holds no weights by name; it holds {names or 'nothing'}")
    return plain_names(state, str(path))
