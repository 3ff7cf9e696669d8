"""Maps of what models see in photographs: cross-attention with words, and similarities to words."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from PIL import Image
from torch import Tensor

from cosmos.config.evaluate_params import Attention
from cosmos.data.image_crops import evaluation_transform
from cosmos.data.tokenizer import Tokenizer
from cosmos.errors import InputError
from cosmos.evaluation.embed import Encoder
from cosmos.evaluation.images import spread_numbers
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.model.attention_maps import attention_maps
from cosmos.model.encoders import CosmosEncoder, encoder_autocast
from cosmos.report.galleries.content import AttentionOfModel, Missing, ModelSight, SightExample
from cosmos.report.galleries.pictures import LARGE_SIDE, crop_square
from cosmos.run.statistics.image_values import FloatArray

NUM_SIGHTS = 8
"""Number of photographs with maps."""
MAX_CHOSEN = 6
"""Largest number of words of a caption that have maps."""

_WORDS = """
a an the this that these those there here and or but nor so as than of in on at by to from with without into
onto over under above below between behind near next beside up down out off through during for about is are
was were be been being has have had do does did will would can could may might must it its he she they them
his her their our your my we you i which who whom whose when where while if then also very some any no not all
both each every other another such more most one two three four image picture photo photograph
"""

FUNCTION_WORDS = frozenset(_WORDS.split())
"""English words, and names of pictures, that no map is drawn of."""

UNTRAINED = "No attention maps: the loss of this model trained no cross-attention: its weights are as drawn."
NO_POOLS = "No attention maps: a plain CLIP has no cross-attention."


@dataclass(frozen=True)
class SightInput:
    """Photograph and texts as models take them."""

    image: Image.Image
    pixels: Tensor
    """(3, S, S)"""
    caption: str
    words: Sequence[tuple[str, slice]]
    """words of the caption with the places of their tokens"""
    chosen: tuple[str, ...]
    tokens: Tensor
    """(1 + chosen, L): of the caption, and of each chosen word"""


def sight_inputs(dataset: RetrievalDataset, encoder: Encoder) -> list[SightInput]:
    """Return photographs spread over a dataset, each with its first caption. Raises as `Images.read`."""
    tokenizer = Tokenizer(encoder.context_length, encoder.vocab_size)
    transform = evaluation_transform(encoder.image_size)
    return [
        sight_input(dataset.images.read(number), caption, tokenizer, transform)
        for number in spread_numbers(len(dataset.images), NUM_SIGHTS)
        for caption in first_captions(dataset, number)
    ]


def first_captions(dataset: RetrievalDataset, image: int) -> list[str]:
    """Return the first caption of an image; [] for an image without one."""
    own = (
        text for text, owner in zip(dataset.captions, dataset.caption_to_image, strict=True) if owner == image
    )
    return list(islice(own, 1))


def sight_input(
    image: Image.Image, caption: str, tokenizer: Tokenizer, transform: Callable[[Image.Image], Tensor]
) -> SightInput:
    """Return a photograph and its caption as models take them."""
    words = tokenizer.words(caption)
    chosen = choose_words([word for word, _ in words])
    tokens = tokenizer.encode([caption, *chosen])
    return SightInput(crop_square(image, LARGE_SIDE), transform(image), caption, words, chosen, tokens)


def choose_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the first words with a meaning of their own, without punctuation and repetitions."""
    plain = (word.strip(string.punctuation) for word in words)
    meaningful = dict.fromkeys(word for word in plain if word and word not in FUNCTION_WORDS)
    return tuple(meaningful)[:MAX_CHOSEN]


def see(encoder: Encoder, inputs: Sequence[SightInput], attention: Attention) -> list[ModelSight]:
    """Return a model's maps of photographs, or reasons why there are none.

    `attention`: kind of attention of the last block, for similarities of patches.
    """
    return [
        ModelSight(attention_of(encoder, item), patch_similarities(encoder, item, attention))
        for item in inputs
    ]


def attention_of(encoder: Encoder, item: SightInput) -> AttentionOfModel | Missing:
    """Return the weights of cross-attention between a photograph and its words, or why there are none."""
    if not isinstance(encoder, CosmosEncoder):
        return Missing(NO_POOLS)
    if not encoder.model.uses_cross_attention:
        return Missing(UNTRAINED)
    with encoder_autocast(encoder.device, encoder.precision):
        maps = attention_maps(encoder.model, item.pixels.to(encoder.device), item.tokens.to(encoder.device))
    by_caption, *by_words = maps.of_texts.double().cpu().numpy()
    weights = maps.of_image.double().cpu()
    of_words = [float(weights[places].sum()) for _, places in item.words]
    return AttentionOfModel(by_caption, tuple(by_words), tuple(of_words), max(0.0, 1 - sum(of_words)))


def patch_similarities(
    encoder: Encoder, item: SightInput, attention: Attention
) -> tuple[FloatArray, ...] | Missing:
    """Return cosines of a photograph's patches with each chosen word, or why there are none."""
    if not item.chosen:
        return Missing("No word of the caption has a meaning of its own.")
    try:
        (patches,) = encoder.encode_patches(item.pixels[None], [attention])
    except InputError as error:
        return Missing(str(error))
    cosines = patches[0].cpu() @ encoder.encode_texts(item.tokens[1:]).cpu().T
    return tuple(cosines.double().permute(2, 0, 1).numpy())


def sight_examples(
    inputs: Sequence[SightInput], seen: Mapping[str, Sequence[ModelSight]]
) -> tuple[SightExample, ...]:
    """Return the photographs with the maps of each model, by its name."""
    return tuple(
        SightExample(
            item.image,
            item.caption,
            tuple(word for word, _ in item.words),
            item.chosen,
            {model: sights[number] for model, sights in seen.items()},
        )
        for number, item in enumerate(inputs)
    )
