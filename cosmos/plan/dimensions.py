"""Dimensions of a model and numbers of its parameters, from parameters alone: neither built nor imported.

`cosmos.model.towers` builds the same towers with torch; a test holds the two together.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from cosmos.config.near_names import near_names
from cosmos.config.params import InlineParams, Params
from cosmos.errors import InputError

CHANNELS = 3
"""Colours of a pixel."""


@dataclass(frozen=True)
class TowerDimensions:
    """Transformer of one modality: `layers` blocks of attention and an MLP."""

    width: int
    layers: int
    heads: int
    hidden: int
    """channels inside the MLP"""

    @property
    def block_weights(self) -> int:
        """Number of weights by which a block multiplies each of its rows: matrices alone."""
        return 4 * self.width**2 + 2 * self.width * self.hidden

    @property
    def block_parameters(self) -> int:
        """Number of parameters of a block: matrices, biases and two norms."""
        return self.block_weights + 9 * self.width + self.hidden


@dataclass(frozen=True)
class ModelDimensions:
    """Student or teacher of COSMOS: two towers, and what joins them."""

    image: TowerDimensions
    text: TowerDimensions
    embed_dim: int
    image_size: int
    patch_size: int
    vocab_size: int
    context_length: int
    pool_heads: int
    has_quick_gelu: bool
    has_bias: bool
    """True with SigLIP's bias of the logits"""
    uses_pools: bool
    """True where the objective reaches the token mappings and the cross-attention pools"""
    distills: bool

    @classmethod
    def of(cls, params: Params) -> Self:
        """Return the dimensions that parameters describe.

        Raises InputError for an architecture that open_clip does not know or that is not a plain ViT.
        """
        model, config = params.model, architecture_config(params)
        vision, text = config["vision_cfg"], config["text_cfg"]
        return cls(
            image=_tower(vision, width=768, heads=vision.get("width", 768) // vision.get("head_width", 64)),
            text=_tower(text, width=512, heads=text.get("heads", 8)),
            embed_dim=config["embed_dim"],
            image_size=params.views.image_size,
            patch_size=vision.get("patch_size", 16),
            vocab_size=text.get("vocab_size", 49408),
            context_length=text.get("context_length", 77),
            pool_heads=model.cross_attention_heads,
            has_quick_gelu=config.get("quick_gelu", False),
            has_bias=params.loss.contrastive == "siglip",
            uses_pools=params.loss.distillation == "cross-modal",
            distills=params.loss.distills,
        )

    def image_tokens(self, size: int) -> int:
        """Return the number of tokens of a crop of `size` pixels: its class and its patches."""
        return 1 + (size // self.patch_size) ** 2

    @property
    def patch_weights(self) -> int:
        """Number of weights that embed a patch."""
        return CHANNELS * self.patch_size**2 * self.image.width

    @property
    def mapping_weights(self) -> tuple[int, int]:
        """Numbers of weights that map the states of a patch, and of a text's token."""
        return self.image.width * self.embed_dim, self.text.width * self.embed_dim

    @property
    def pool_parameters(self) -> int:
        """Number of parameters of a cross-attention pool."""
        return 4 * self.embed_dim**2 + 8 * self.embed_dim

    @property
    def image_inputs(self) -> int:
        """Number of parameters in front of the image tower's blocks: class, positions, patches and a norm."""
        return self.patch_weights + self.image.width * (1 + self.image_tokens(self.image_size) + 2)

    @property
    def text_inputs(self) -> int:
        """Number of parameters in front of the text tower's blocks: vocabulary and positions."""
        return self.text.width * (self.vocab_size + self.context_length)

    @property
    def towers_parameters(self) -> int:
        """Number of parameters of both towers: inputs, blocks, last norms and projections."""
        blocks = sum(
            t.layers * t.block_parameters + t.width * (2 + self.embed_dim) for t in (self.image, self.text)
        )
        return self.image_inputs + self.text_inputs + blocks

    @property
    def pools_parameters(self) -> int:
        """Number of parameters of both token mappings and both pools, which every model has."""
        return sum(self.mapping_weights) + 2 * self.embed_dim + 2 * self.pool_parameters

    @property
    def num_parameters(self) -> int:
        """Number of parameters of a model, used by the objective or not."""
        scales = 2 + self.has_bias
        return self.towers_parameters + self.pools_parameters + scales

    @property
    def num_trained(self) -> int:
        """Number of parameters that are trained: those that the objective reaches."""
        unused = 0 if self.uses_pools else self.pools_parameters
        return self.num_parameters - unused - (not self.distills)


def _tower(config: dict[str, Any], width: int, heads: int) -> TowerDimensions:
    """Return the transformer of an open_clip config; `width` is open_clip's default."""
    width = config.get("width", width)
    hidden = int(width * config.get("mlp_ratio", 4.0))
    return TowerDimensions(width, config.get("layers", 12), heads, hidden)


def architecture_config(params: Params) -> dict[str, Any]:
    """Return the architecture of parameters in the form of open_clip's configs, one that is a plain ViT.

    Raises InputError for an unknown one and for another kind.
    """
    name = params.model.architecture
    if name == "inline":
        return _inline(params.model.inline)
    config = named_architecture(name)
    odd = list(_odd_settings(config))
    if odd:
        raise InputError(f"model.architecture: {name} is not a plain ViT ({', '.join(odd)})")
    return config


def _inline(inline: InlineParams) -> dict[str, Any]:
    vision, text = inline.vision.model_dump(), inline.text.model_dump()
    return {"embed_dim": inline.embed_dim, "vision_cfg": vision, "text_cfg": text}


@cache
def named_architecture(name: str) -> dict[str, Any]:
    """Return open_clip's config of a name. Raises InputError, with names like it, for an unknown one."""
    files = {path.stem: path for path in config_folder().glob("*.json")}
    if name not in files:
        near = near_names(name, ["inline", *(stem for stem in files if stem.startswith("ViT-"))])
        raise InputError(f"model.architecture: open_clip has no {name!r}; {near}")
    config: dict[str, Any] = json.loads(files[name].read_text(encoding="utf-8"))
    return config


def config_folder() -> Path:
    """Return the folder of open_clip's configs; importing open_clip would take seconds."""
    spec = find_spec("open_clip")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model_configs"


_VARIABLE = {"layers", "width", "head_width", "heads", "mlp_ratio", "patch_size", "image_size"}
_VARIABLE |= {"context_length", "vocab_size"}
"""Settings in which plain ViTs differ from each other."""


def _odd_settings(config: dict[str, Any]) -> Iterator[str]:
    """Yield the settings with which an architecture is no plain ViT."""
    for tower in ("vision", "text"):
        for key, value in config[f"{tower}_cfg"].items():
            if (key not in _VARIABLE and value) or (key == "layers" and not isinstance(value, int)):
                yield f"{tower}.{key}={value}"
