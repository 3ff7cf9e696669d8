"""A model whose weights are set by hand, so that a patch and a word of one colour attend to each other."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.data.tokenizer import Tokenizer
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos

WIDTH = 16
PATCH = 8
SIDE = 32
PLANTED = ModelConfig(
    ModelParams(
        cross_attention_heads=1,
        inline=InlineParams(
            embed_dim=WIDTH,
            vision=VisionParams(width=WIDTH, layers=1, head_width=WIDTH, patch_size=PATCH),
            text=TextParams(width=WIDTH, layers=1, heads=1, context_length=12),
        ),
    ),
    LossParams(),
    SIDE,
)
CHANNELS = {"red": 0, "blue": 2}
SHARPNESS = 40.0


def planted_model() -> Cosmos:
    """A patch has the direction of the channel that it is bright in, a word that of its colour.

    A text is the mean of its words; an image, whatever is in it, is blue.
    """
    model = naming_model(CHANNELS)
    with torch.no_grad():
        _keep_apart(model.visual.transformer)
        model.visual.class_embedding[CHANNELS["blue"]] = 1
    return model


def naming_model(channels: Mapping[str, int]) -> Cosmos:
    """An image is the mean of its patches' directions, and a text that of its words; these have channels."""
    model = PLANTED.build()
    model.eval()
    with torch.no_grad():
        _reset(model)
        for channel in range(3):
            model.visual.conv1.weight[channel, channel] = 1 / PATCH**2  # mean of a channel
        for word, channel in channels.items():
            model.token_embedding.weight[_token(word), channel] = 1
    return model


def _keep_apart(transformer: nn.Module) -> None:
    """Tokens no longer see the mean of those that they attend to."""
    for block in transformer.resblocks:  # type: ignore[union-attr]
        block.attn.out_proj.weight.zero_()


def _reset(model: Cosmos) -> None:
    """Blocks add the mean of tokens, projections keep all, pools compare queries and tokens as they are."""
    for parameter in model.parameters():
        parameter.zero_()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1)
    for transformer in (model.visual.transformer, model.transformer):
        for block in transformer.resblocks:
            block.attn.in_proj_weight[2 * WIDTH :] = torch.eye(WIDTH)
            block.attn.out_proj.weight.copy_(torch.eye(WIDTH))
    mappings = model.image_token_mapping.weight, model.text_token_mapping.weight
    for matrix in (model.visual.proj, model.text_projection, *mappings):
        matrix.copy_(torch.eye(WIDTH))
    for pool in (model.visual.attn_cross_pool, model.text_attn_cross_pool):
        pool.attn.in_proj_weight[:WIDTH] = SHARPNESS * torch.eye(WIDTH)
        pool.attn.in_proj_weight[WIDTH : 2 * WIDTH] = torch.eye(WIDTH)


def _token(word: str) -> int:
    return int(tokens(word)[0, 1])


def tokens(*texts: str) -> Tensor:
    return Tokenizer(12, PLANTED.model.inline.text.vocab_size).encode(texts)


def patch_image(**patches: tuple[int, int]) -> Tensor:
    """A grey image, (3, S, S) as the model takes it, with a bright patch of each colour: (row, column)."""
    image = torch.zeros(3, SIDE, SIDE)
    for colour, (row, column) in patches.items():
        rows, columns = (slice(place * PATCH, (place + 1) * PATCH) for place in (row, column))
        image[CHANNELS[colour], rows, columns] = 2
    return image
