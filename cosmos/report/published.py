"""Figures that COSMOS's authors report for their checkpoints, to set one's own beside.

Source: COSMOS (arXiv 2412.01814). They are the teacher's, and shares between 0 and 1. Segmentation is with
correlative self-attention.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from cosmos.config.figures import Figures
from cosmos.config.near_names import near_names
from cosmos.errors import InputError

_PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Figures]]] = json.loads(
    Path(__file__).with_name("published.json").read_text(encoding="utf-8")
)
"""Figures by checkpoint, suite and dataset."""

PUBLISHED_CHECKPOINTS = tuple(_PUBLISHED)
"""Names of the checkpoints that have published figures."""


def published_figures(checkpoint: str, suite: str, dataset: str) -> Figures:
    """Return the published figures of a checkpoint on a dataset; {} where there are none.

    Raises InputError for a checkpoint without any published figures.
    """
    if checkpoint not in _PUBLISHED:
        near = near_names(checkpoint, PUBLISHED_CHECKPOINTS)
        raise InputError(f"{checkpoint!r}: no checkpoint with published figures; {near}")
    return _PUBLISHED[checkpoint].get(suite, {}).get(dataset, {})


def differences_to_published(ours: Figures, published: Figures) -> Figures:
    """Return ours minus published, for the metrics that both have."""
    return {metric: ours[metric] - figure for metric, figure in published.items() if metric in ours}
