"""Encoders for evaluation: models that turn images and captions into normalised embeddings."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import open_clip
import torch
from open_clip.model import CLIPVisionCfg
from torch import Tensor, nn
from torch.nn.functional import normalize

from cosmos.config.evaluate_params import Attention
from cosmos.config.near_names import near_names
from cosmos.config.section import Precision
from cosmos.distributed.device_memory import explaining_full_gpus
from cosmos.errors import InputError
from cosmos.model.checkpoint_reference import OpenClipReference, convert_hub_error
from cosmos.model.checkpoints import Checkpoint, ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import caption_lengths
from cosmos.model.plain_clip import load_plain_clip
from cosmos.model.towers import (
    encode_image,
    encode_text,
    named_config,
    patch_embeddings,
    unsupported_settings,
)

_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True)
class CosmosEncoder:
    """Encoder of a student or teacher of COSMOS."""

    model: Cosmos
    image_size: int
    device: torch.device
    precision: Precision

    @property
    def context_length(self) -> int:
        """Number of tokens of a caption."""
        return int(self.model.context_length)

    @property
    def vocab_size(self) -> int:
        """Number of different tokens."""
        return int(self.model.vocab_size)

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, S, S) -> (B, D), normalised."""
        with encoder_autocast(self.device, self.precision):
            return to_unit_norm(encode_image(self.model, images.to(self.device)))

    @torch.inference_mode()
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embed captions' tokens, on the CPU: (B, L) -> (B, D), normalised."""
        with encoder_autocast(self.device, self.precision):
            embeddings = encode_text(self.model, tokens.to(self.device), caption_lengths(tokens))
            return to_unit_norm(embeddings)

    @torch.inference_mode()
    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        """Embed patches: (B, 3, S, S) -> (B, rows, columns, D), normalised, for each kind of `attention`.

        Kinds differ in the last block's attention.
        """
        with encoder_autocast(self.device, self.precision):
            return [
                to_unit_norm(p)
                for p in patch_embeddings(self.model.visual, images.to(self.device), attention)
            ]


@dataclass(frozen=True)
class OpenClipEncoder:
    """Encoder of a baseline with open_clip's pretrained weights."""

    model: nn.Module
    image_size: int
    context_length: int
    vocab_size: int
    device: torch.device
    precision: Precision
    odd_settings: tuple[str, ...]
    """settings that set its image tower apart from a plain ViT; empty for a plain one"""

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, S, S) -> (B, D), normalised."""
        with encoder_autocast(self.device, self.precision):
            return to_unit_norm(self.model.encode_image(images.to(self.device)))  # type: ignore[operator]

    @torch.inference_mode()
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embed captions' tokens: (B, L) -> (B, D), normalised."""
        with encoder_autocast(self.device, self.precision):
            return to_unit_norm(self.model.encode_text(tokens.to(self.device)))  # type: ignore[operator]

    @torch.inference_mode()
    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        """Embed patches: (B, 3, S, S) -> (B, rows, columns, D), normalised, for each kind of `attention`.

        Kinds differ in the last block's attention. Raises InputError for an image tower that is no plain ViT:
        its patches have no embeddings.
        """
        if self.odd_settings:
            raise InputError(
                f"segmentation needs a model whose image tower is a plain ViT; this one has "
                f"{', '.join(self.odd_settings)}; take another, as open_clip:ViT-B-16:openai"
            )
        visual: nn.Module = self.model.visual  # type: ignore[assignment]
        with encoder_autocast(self.device, self.precision):
            return [to_unit_norm(p) for p in patch_embeddings(visual, images.to(self.device), attention)]


def encoder_autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the autocast context that an encoder computes in; disabled for float32."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")


def to_unit_norm(embeddings: Tensor) -> Tensor:
    """Normalise embeddings: (..., D) in any precision -> float32 of norm 1."""
    return normalize(embeddings.float(), dim=-1)


def make_encoder(
    checkpoint: Checkpoint, which: str, config: ModelConfig, device: torch.device, precision: Precision
) -> CosmosEncoder:
    """Return the encoder of the `student` or `teacher` of a checkpoint, on `device`."""
    model = checkpoint.load(which, config).eval()
    return CosmosEncoder(move_model(model, device), config.image_size, device, precision)


def open_clip_baseline(
    reference: OpenClipReference, device: torch.device, precision: Precision
) -> OpenClipEncoder:
    """Return a baseline on `device`, with the weights of a file or with those that open_clip downloads.

    Raises InputError for an architecture or weights that open_clip does not have, for a file of another
    model, and for a model with another tokenizer or other image statistics than CLIP's; DamagedDataError for
    a broken file; TransientError where the download or the disk fails.
    """
    name, config = reference.text, named_config(reference.architecture, reference.text)
    text = config["text_cfg"]
    if "hf_tokenizer_name" in text or "hf_model_name" in text:
        raise InputError(
            f"{name}: its tokenizer is not CLIP's; only models with CLIP's tokenizer are evaluated"
        )
    make = model_with_own_weights if reference.is_file else model_with_downloaded_weights
    model = move_model(make(reference).eval(), device)
    return baseline_encoder(name, model, config, device, precision)


def move_model(model: _Model, device: torch.device) -> _Model:
    """Return the model on `device`. Raises OutOfMemoryError for a GPU with too little memory for it."""
    with explaining_full_gpus("the model needs", "take a larger GPU, or COSMOS_DEVICE=cpu"):
        return model.to(device)


def model_with_own_weights(reference: OpenClipReference) -> nn.Module:
    """Return open_clip's model with the weights of a file; errors as of `load_plain_clip`."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # open_clip warns of the random weights that are replaced here
    try:
        model: nn.Module = open_clip.create_model(reference.architecture)
    finally:
        logging.disable(before)
    load_plain_clip(model, reference.fetch(Path()))
    return model


def model_with_downloaded_weights(reference: OpenClipReference) -> nn.Module:
    """Return open_clip's model with weights that it downloads and keeps.

    Raises InputError for weights that it does not have, and TransientError where the download fails.
    """
    architecture, tag = reference.architecture, reference.tag
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    if not pretrained:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise InputError(
            f"{reference.text}: {tag!r} is neither a file nor weights of open_clip's {architecture}; "
            f"{near_names(tag, tags)}"
        )
    try:
        # open_clip only warns where weights were trained with another activation than the architecture's.
        quick_gelu = bool(pretrained.get("quick_gelu"))
        model: nn.Module = open_clip.create_model(architecture, pretrained=tag, force_quick_gelu=quick_gelu)
    except (OSError, RuntimeError) as error:  # open_clip raises a RuntimeError for any failing download
        message = f"{reference.text}: open_clip could not load it ({error})"
        raise convert_hub_error(error, message) from error
    return model


def baseline_encoder(
    name: str, model: nn.Module, config: dict[str, Any], device: torch.device, precision: Precision
) -> OpenClipEncoder:
    """Return the encoder of a model of open_clip that was built from `config`.

    Raises InputError for other image statistics than CLIP's.
    """
    visual: Any = model.visual
    if tuple(visual.image_mean) != open_clip.OPENAI_DATASET_MEAN:
        raise InputError(
            f"{name}: it was trained with other image statistics than CLIP's, which are not supported"
        )
    size = visual.image_size
    image_size = size[0] if isinstance(size, tuple) else size
    text = config["text_cfg"]
    length, vocabulary = text.get("context_length", 77), text.get("vocab_size", 49408)
    odd = tuple(unsupported_settings(CLIPVisionCfg(**config["vision_cfg"]), "vision"))
    return OpenClipEncoder(model, int(image_size), length, vocabulary, device, precision, odd)
