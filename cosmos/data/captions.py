"""Captions as strangers write them, brought into the three forms of `manifest.CaptionSchema`."""

import ast
import json
import re
from typing import Any

from cosmos.data.manifest import CaptionSchema
from cosmos.errors import DamagedDataError

MAX_CAPTION_CHARACTERS = 10_000

RAW_KEYS = ("raw_caption",)
SHORT_KEYS = ("shortIB_captions", "shortSV_captions", "shortLLA_captions")
LONG_KEYS = ("longIB_captions", "longSV_captions", "longLLA_captions")
DREAMLIP_GENERATED = SHORT_KEYS + LONG_KEYS
DREAMLIP_KEYS = RAW_KEYS + DREAMLIP_GENERATED
"""Keys of a DreamLIP annotation, in the order of COSMOS's sentence pool."""

_SENTENCE_ENDS = re.compile(r"\n|</s>|\.")


def clean_caption(text: str) -> str:
    """Return `text` without white space around it, cut at MAX_CAPTION_CHARACTERS.

    Halves of surrogate pairs, which JSON can hold and UTF-8 cannot, are dropped.
    """
    return text.encode("utf-8", "ignore").decode().strip()[:MAX_CAPTION_CHARACTERS].rstrip()


def clean_captions(texts: list[Any] | tuple[Any, ...]) -> list[str]:
    """Return the strings among `texts`, cleaned, without empty ones."""
    return [caption for text in texts if isinstance(text, str) and (caption := clean_caption(text))]


def split_sentences(text: str) -> list[str]:
    """Split a long caption into sentences: at line ends, `</s>` and full stops, empty ones dropped.

    The published rule for PixelProse (COSMOS) and for the generated captions of DreamLIP.
    """
    return clean_captions(_SENTENCE_ENDS.split(text))


def caption_form(value: Any) -> tuple[CaptionSchema, dict[str, Any]]:
    """Return the schema that `value` is in, and `value` in that schema's exact form.

    `value` is what a JSON file or a row of a table holds: a string, a list of strings, or an object with
    DreamLIP's, PixelProse's, or the keys `captions` or `caption`. Other keys are left out. Putting the result
    in again gives the same result.

    Raises DamagedDataError when there is no caption in it.
    """
    if not isinstance(value, dict):
        return "captions", {"captions": _require_captions(_strings(value))}
    if any(key in value for key in DREAMLIP_KEYS):
        return "dreamlip", _dreamlip(value)
    if "original_caption" in value:
        return "pixelprose", _pixelprose(value)
    return "captions", {"captions": _require_captions(_strings(value.get("captions", value.get("caption"))))}


def captions_in(schema: CaptionSchema, value: Any) -> dict[str, Any]:
    """Return `value` in the exact form of `schema`.

    Raises DamagedDataError when it has no captions or is in another schema.
    """
    own_schema, annotation = caption_form(value)
    if own_schema != schema:
        raise DamagedDataError(f"captions are in the form {own_schema!r}, those of the dataset in {schema!r}")
    return annotation


def _dreamlip(value: dict[str, Any]) -> dict[str, Any]:
    # img2dataset keeps the raw caption as `caption` when it was told that this is the column of captions.
    annotation = {"raw_caption": _strings(_list_in(value.get("raw_caption", value.get("caption"))))}
    for key in DREAMLIP_GENERATED:
        cell = _list_in(value.get(key))
        annotation[key] = split_sentences(cell) if isinstance(cell, str) else _strings(cell)
    _require_captions([caption for captions in annotation.values() for caption in captions])
    return annotation


def _pixelprose(value: dict[str, Any]) -> dict[str, Any]:
    original = _strings(value.get("original_caption"))
    generated = _strings(value.get("vlm_caption", value.get("caption")))
    _require_captions(original + generated)
    return {"original_caption": "".join(original), "caption": "".join(generated)}


def _list_in(cell: Any) -> Any:
    """Return the list that a cell holds, also one written out as JSON or Python; any other cell as it is."""
    if not (isinstance(cell, str) and cell.startswith("[") and cell.endswith("]")):
        return cell
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else cell
    return cell


def _strings(value: Any) -> list[str]:
    return clean_captions(value if isinstance(value, list | tuple) else [value])


def _require_captions(captions: list[str]) -> list[str]:
    if not captions:
        raise DamagedDataError(
            "no captions: expected strings, or an object with captions, caption, "
            "original_caption and caption, or raw_caption and the like"
        )
    return captions
