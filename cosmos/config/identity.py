"""Identity of parameters: the values that tell two experiments apart, hashed or listed.

A knob that is added at its default must change no name of a run, no id of a sweep and no dataset. So a value
belongs to the identity if its key was there in the first release, or if it differs from the default that the
key was introduced with.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from cosmos.config.params import DataParams, Params

ADDED_KNOBS: Mapping[str, Any] = {
    "pretrain.max_damaged": 0.001,
    "sweep.constraints": [],
    "evaluate.while_training": ["retrieval"],
    "loss.siglip_bias": -10.0,
}
"""Knobs added since the first release: path -> default at introduction, as JSON has it.

A new knob gets an entry in the same commit, such as "pretrain.layer_decay": 1.0 or, for a key of each set of
one's own, "evaluate.segmentation.own.*.stride": 0. An entry stays as it is for ever: where the default
changes later, the value differs from the entry and is part of the identity, as it should be. Keys of a
sweep's file go below "sweep", its lists as "*": "sweep.objectives.*.weight".
tests/config/released_params.yaml has the keys and defaults of the first release.
"""

READ_IN_TRAINING = ("name", "max_pixels")
"""Keys of `data` that training reads; the others, which a manifest holds, say what the data is made from."""

UNUSED_IN_TRAINING: Mapping[str, bool | set[str]] = {"evaluate": True, "pretrain": {"max_damaged"}}
"""Parameters that change nothing of what a run is trained to."""

SHORT_HASH = 8
"""Digits of a hash that people are shown."""


def short_hash(digest: str) -> str:
    """Return the first digits of a hash, for people."""
    return digest[:SHORT_HASH]


def identifying_values(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Return dumped parameters without the knobs that were added since and have their first default.

    `section`: path of what `values` are, such as "data"; "" for sections of Params by name.
    """
    kept = deepcopy(dict(values))
    for keys, default in _added_below(section):
        _drop(kept, keys, default)
    return kept


def with_first_defaults(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Return parameters of a record, with the knobs added since at the default that they came with.

    The default may have changed in the meantime, which changes nothing of what was recorded before.
    """
    filled = deepcopy(dict(values))
    for keys, default in _added_below(section):
        _fill(filled, keys, default)
    return filled


def params_fingerprint(params: Params) -> str:
    """Return eight hex digits that differ between parameters that pretrain differently.

    Evaluation is left out, so that one pretraining can be evaluated in several ways; and the limit of damage,
    so that a run which it stopped can go on with another.
    """
    return _fingerprint(params, UNUSED_IN_TRAINING)


def training_fingerprint(params: Params) -> str:
    """Return eight hex digits that differ between parameters that train differently on the same dataset.

    They are those of `params_fingerprint`, without what the dataset was prepared from.
    """
    making = set(DataParams.model_fields).difference(READ_IN_TRAINING)
    return _fingerprint(params, {**UNUSED_IN_TRAINING, "data": making})


def _fingerprint(params: Params, unused: Mapping[str, bool | set[str]]) -> str:
    values = identifying_values(params.model_dump(mode="json", exclude=dict(unused)))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def flatten_sections(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as values by path."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        leaves |= flatten_sections(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return leaves


def describe_changes(old: Params, new: Params) -> list[str]:
    """Return the keys whose values differ, as `path: old -> new`."""
    return changed_values(old.model_dump(), new.model_dump())


def changed_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the values of nested sections that differ, as `path: old -> new`."""
    before, after = flatten_sections(old), flatten_sections(new)
    keys = dict.fromkeys([*before, *after])
    return [f"{k}: {before.get(k)} -> {after.get(k)}" for k in keys if before.get(k) != after.get(k)]


def _added_below(section: str) -> list[tuple[list[str], Any]]:
    """Return the keys below `section`, and the default, of each knob there that was added."""
    roots = [section] if section else list(Params.model_fields)
    skipped = len(section.split(".")) if section else 0
    return [
        (path.split(".")[skipped:], default)
        for path, default in ADDED_KNOBS.items()
        if any(path.startswith(f"{root}.") for root in roots)
    ]


def _drop(values: Any, keys: list[str], default: Any) -> None:
    """Remove the value at the path `keys` where it is `default`, and the sections that this empties."""
    key, *rest = keys
    if key == "*":
        for value in _items(values):
            _drop(value, rest, default)
    elif not isinstance(values, dict) or key not in values:
        return
    elif not rest:
        if values[key] == default:
            del values[key]
    elif values[key]:
        _drop(values[key], rest, default)
        if not values[key]:
            del values[key]


def _fill(values: Any, keys: list[str], default: Any) -> None:
    """Set the value at the path `keys` to `default` where there is none."""
    key, *rest = keys
    if key == "*":
        for value in _items(values):
            _fill(value, rest, default)
    elif not isinstance(values, dict):
        return
    elif not rest:
        values.setdefault(key, default)
    elif rest[0] != "*":
        _fill(values.setdefault(key, {}), rest, default)
    else:
        _fill(values.get(key), rest, default)


def _items(values: Any) -> list[Any]:
    if isinstance(values, dict):
        return list(values.values())
    return values if isinstance(values, list) else []
