"""Crops of text: the sentences of a sample, those that a step draws, and those that retrieval uses."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from cosmos.config.params import ViewParams
from cosmos.data.captions import DREAMLIP_KEYS, LONG_KEYS, RAW_KEYS, SHORT_KEYS, split_sentences
from cosmos.errors import DamagedDataError

CaptionMode = Literal["textcrop", "random", "raw", "short", "long"]

KEYS_BY_MODE: dict[CaptionMode, tuple[str, ...]] = {
    "textcrop": DREAMLIP_KEYS,
    "random": DREAMLIP_KEYS,
    "raw": RAW_KEYS,
    "short": SHORT_KEYS,
    "long": LONG_KEYS,
}
"""Keys of a DreamLIP-style annotation that a mode draws from, in this order."""


def sentence_pool(annotation: Mapping[str, Any], mode: CaptionMode) -> list[str]:
    """Return the sentences that captions of this mode are drawn from, without blank ones.

    The form of the annotation (`manifest.CaptionSchema`) shows in its keys. Source: COSMOS, text views.
    Raises DamagedDataError, naming the keys, when there is none or when a value has the wrong type.
    """
    if "captions" in annotation:
        keys: Sequence[str] = ("captions",)
        sentences = _strings(annotation, "captions")
    elif "original_caption" in annotation:
        keys = ("original_caption",) if mode == "raw" else ("original_caption", "caption")
        original, *generated = (_string(annotation, key) for key in keys)
        sentences = [original, *(sentence for text in generated for sentence in split_sentences(text))]
    else:
        keys = KEYS_BY_MODE[mode]
        sentences = [sentence for key in keys for sentence in _strings(annotation, key)]
    return _not_empty(sentences, keys)


def evaluation_captions(annotation: Mapping[str, Any]) -> list[str]:
    """Return the captions that retrieval is measured on: those that people wrote.

    Raises DamagedDataError as `sentence_pool`.
    """
    return sentence_pool(annotation, "raw")


def draw_captions(annotation: Mapping[str, Any], views: ViewParams, rng: np.random.Generator) -> list[str]:
    """Draw K captions of a sample: two global ones, then K-2 local ones.

    In mode textcrop a global caption joins 1 to `max_sentences` sentences and a local one is a sentence; in
    the other modes all K are sentences. Source: COSMOS, text views.
    Raises DamagedDataError as `sentence_pool`.
    """
    pool = sentence_pool(annotation, views.caption_mode)
    if views.caption_mode != "textcrop":
        return _draw(pool, views.num_captions, rng)
    lengths = rng.integers(1, views.max_sentences, size=2, endpoint=True)
    global_captions = [". ".join(_draw(pool, int(length), rng)) for length in lengths]
    return global_captions + _draw(pool, views.num_captions - 2, rng)


def _draw(pool: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Draw `count` sentences without repetition; a smaller pool is first taken whole, as often as it fits."""
    whole, rest = divmod(count, len(pool)) if len(pool) < count else (0, count)
    drawn = rng.choice(len(pool), size=rest, replace=False)
    return [*pool] * whole + [pool[i] for i in drawn]


def _strings(annotation: Mapping[str, Any], key: str) -> list[str]:
    value = annotation.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DamagedDataError(f"annotation: {key} is not a list of strings")
    return value


def _string(annotation: Mapping[str, Any], key: str) -> str:
    value = annotation.get(key, "")
    if not isinstance(value, str):
        raise DamagedDataError(f"annotation: {key} is not a string")
    return value


def _not_empty(sentences: Sequence[str], keys: Sequence[str]) -> list[str]:
    kept = [sentence for sentence in sentences if sentence.strip()]
    if not kept:
        raise DamagedDataError(f"annotation: no sentences in {', '.join(keys)}")
    return kept
