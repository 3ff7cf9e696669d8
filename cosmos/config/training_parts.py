"""Parts of the time of a training, as a rank's clock, a run's trace and people name them."""

from collections.abc import Mapping
from typing import Literal, get_args

TrainingPart = Literal[
    "start",
    "data",
    "transfer",
    "forward",
    "loss",
    "backward",
    "gradients",
    "agreement",
    "update",
    "rest",
    "logging",
    "saving",
    "evaluating",
]
"""Part of a rank's time. It is in one at each moment, so that they add up to all of its time."""

TRAINING_PARTS: tuple[TrainingPart, ...] = get_args(TrainingPart)

PART_TITLES: Mapping[TrainingPart, str] = {
    "start": "waiting for a session's first batch",
    "data": "waiting for data",
    "transfer": "transfer and colours of the views",
    "forward": "forward pass",
    "loss": "loss, with the exchange of embeddings",
    "backward": "backward pass",
    "gradients": "exchange of gradients",
    "agreement": "agreement of the ranks",
    "update": "optimiser and teacher",
    "rest": "rest",
    "logging": "metrics and log",
    "saving": "saving",
    "evaluating": "evaluating",
}
"""Parts as people read them."""

OWN_PARTS: tuple[TrainingPart, ...] = ("data", "transfer", "forward", "backward", "update", "rest")
"""Parts of a step in which a rank waits for no other."""

EXCHANGE_PARTS: tuple[TrainingPart, ...] = ("loss", "gradients", "agreement")
"""Parts of a step in which a rank waits for the slowest one."""

STEP_PARTS = OWN_PARTS + EXCHANGE_PARTS
"""Parts of a step."""

OUTSIDE_PARTS: tuple[TrainingPart, ...] = ("saving", "evaluating")
"""Parts that `seconds` of a training leaves out."""

COUNTED_PARTS = tuple(part for part in TRAINING_PARTS if part not in OUTSIDE_PARTS)
"""Parts that `seconds` of a training counts."""

WAITING_PARTS: tuple[TrainingPart, ...] = ("start", "data")
"""Parts in which a rank waits for its batch."""
