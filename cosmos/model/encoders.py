"""Models as evaluation sees them: images and captions in, normalised embeddings out."""

from dataclasses import dataclass

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cosmos.model.checkpoints import Checkpoint, ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.towers import encode_image, encode_text, named_config


@dataclass(frozen=True)
class CosmosEncoder:
    """A student or teacher."""

    model: Cosmos
    image_size: int
    device: torch.device

    @property
    def context_length(self) -> int:
        """Tokens of a caption."""
        return int(self.model.context_length)

    @property
    def vocab_size(self) -> int:
        """Ids of tokens."""
        return int(self.model.vocab_size)

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), normalised."""
        return normalize(encode_image(self.model, images.to(self.device)).float(), dim=-1)

    @torch.inference_mode()
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, D), normalised."""
        return normalize(encode_text(self.model, tokens.to(self.device)).float(), dim=-1)


@dataclass(frozen=True)
class OpenClipEncoder:
    """A baseline with open_clip's pretrained weights."""

    model: nn.Module
    image_size: int
    context_length: int
    vocab_size: int
    device: torch.device

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), normalised."""
        return normalize(self.model.encode_image(images.to(self.device)).float(), dim=-1)  # type: ignore[operator]

    @torch.inference_mode()
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, D), normalised."""
        return normalize(self.model.encode_text(tokens.to(self.device)).float(), dim=-1)  # type: ignore[operator]


def encoder_of(
    checkpoint: Checkpoint, which: str, config: ModelConfig, device: torch.device
) -> CosmosEncoder:
    """The `student` or `teacher` of a checkpoint, on `device`."""
    model = checkpoint.load(which, config)
    model.eval()
    return CosmosEncoder(model.to(device), config.image_size, device)


def open_clip_baseline(name: str, device: torch.device) -> OpenClipEncoder:
    """The baseline that `open_clip:<architecture>:<pretrained tag>` names; open_clip downloads it.

    Raises ValueError for a name that open_clip does not know, and for a model with another tokenizer or
    other image statistics than CLIP's.
    """
    try:
        _, architecture, tag = name.split(":", 2)
    except ValueError:
        raise ValueError(
            f"{name}: write open_clip:<architecture>:<tag>, as open_clip:ViT-B-32:openai"
        ) from None
    text = named_config(architecture)["text_cfg"]
    if "hf_tokenizer_name" in text or "hf_model_name" in text:
        raise ValueError(
            f"{name}: its tokenizer is not CLIP's; only models with CLIP's tokenizer are evaluated"
        )
    try:
        model = open_clip.create_model(architecture, pretrained=tag, device=device)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{name}: open_clip could not load it ({error})") from None
    model.eval()
    visual = model.visual
    if tuple(visual.image_mean) != open_clip.OPENAI_DATASET_MEAN:
        raise ValueError(
            f"{name}: it was trained with other image statistics than CLIP's, which are not supported"
        )
    size = visual.image_size
    image_size = size[0] if isinstance(size, tuple) else size
    length = text.get("context_length", 77)
    return OpenClipEncoder(model, int(image_size), length, text.get("vocab_size", 49408), device)
