"""Maps of what models see in photographs, as pictures, and the words that photographs attend to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cosmos.report.galleries.content import AttentionOfModel, Missing, ModelSight, SightExample
from cosmos.report.galleries.pictures import (
    LARGE_SIDE,
    EmbeddedPicture,
    crop_square,
    embed_picture,
    heat_picture,
)
from cosmos.report.text import cut_text
from cosmos.run.statistics.image_values import FloatArray

LARGEST_OPACITY = 0.75
"""Opacity of the ground of the word that has most weight."""


@dataclass(frozen=True)
class ShownMap:
    """Map over a photograph, and the text below it."""

    picture: EmbeddedPicture
    text: str
    remark: str


@dataclass(frozen=True)
class ShownWord:
    """Word of a caption with its weight, and the opacity of the ground that shows it."""

    text: str
    share: float
    opacity: float


@dataclass(frozen=True)
class SightRow:
    """Maps of a model on a photograph, or the reasons why there are none."""

    model: str
    attention: Sequence[ShownMap] | Missing
    words: Sequence[ShownWord]
    elsewhere: float
    similarities: Sequence[ShownMap] | Missing

    @property
    def strongest(self) -> ShownWord | None:
        """Word with most weight; None without words."""
        return max(self.words, key=lambda word: word.share, default=None)


@dataclass(frozen=True)
class SightStep:
    """Photograph with its caption, and the maps of each model."""

    photograph: EmbeddedPicture
    caption: str
    rows: Sequence[SightRow]


def sight_step(example: SightExample) -> SightStep:
    """Return an example as the page shows it."""
    photograph = crop_square(example.image, LARGE_SIDE)
    rows = [_sight_row(example, model, sight) for model, sight in example.by_model.items()]
    return SightStep(embed_picture(photograph, "photograph"), cut_text(example.caption), rows)


def beside_baseline(
    examples: Sequence[SightExample], name: str, others: Sequence[SightExample]
) -> tuple[SightExample, ...]:
    """Return examples with the maps of a baseline's last model, where it saw the same photograph."""
    return tuple(
        replace(example, by_model={**example.by_model, **_last_sight(example, name, others)})
        for example in examples
    )


def _last_sight(example: SightExample, name: str, others: Sequence[SightExample]) -> dict[str, ModelSight]:
    for other in others:
        if other.by_model and is_same_photograph(example, other):
            model, sight = list(other.by_model.items())[-1]
            return {f"{model} of {name}": sight}
    return {}


def is_same_photograph(first: SightExample, second: SightExample) -> bool:
    """Return True for examples of the same photograph with the same caption and words."""
    return (
        first.caption == second.caption
        and first.chosen == second.chosen
        and first.image.tobytes() == second.image.tobytes()
    )


def _sight_row(example: SightExample, model: str, sight: ModelSight) -> SightRow:
    attention = sight.attention
    return SightRow(
        model,
        attention if isinstance(attention, Missing) else attention_pictures(example, attention),
        () if isinstance(attention, Missing) else shown_words(example.words, attention.of_words),
        0.0 if isinstance(attention, Missing) else attention.elsewhere,
        similarity_pictures(example, sight.similarities),
    )


def attention_pictures(example: SightExample, attention: AttentionOfModel) -> list[ShownMap]:
    """Return maps of the patches that the caption, and each chosen word, attends to."""
    maps = (attention.by_caption, *attention.by_words)
    return [
        ShownMap(
            heat_picture(example.image, weights, f"attention of {text}"),
            cut_text(text, 40),
            f"{weights.max() * weights.size:.1f} × mean",
        )
        for text, weights in zip(("whole caption", *example.chosen), maps, strict=True)
    ]


def similarity_pictures(
    example: SightExample, similarities: tuple[FloatArray, ...] | Missing
) -> list[ShownMap] | Missing:
    """Return maps of the patches' similarities to each chosen word."""
    if isinstance(similarities, Missing):
        return similarities
    return [
        ShownMap(
            heat_picture(example.image, cosines, f"similarity to {word}"),
            cut_text(word, 40),
            f"{cosines.min():.2f} to {cosines.max():.2f}",
        )
        for word, cosines in zip(example.chosen, similarities, strict=True)
    ]


def shown_words(words: Sequence[str], shares: Sequence[float]) -> list[ShownWord]:
    """Return the words of a caption, the darker the more weight they have."""
    highest = max(shares, default=0) or 1
    return [
        ShownWord(cut_text(word, 40), share, round(LARGEST_OPACITY * share / highest, 2))
        for word, share in zip(words, shares, strict=True)
    ]
