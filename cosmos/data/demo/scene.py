"""What there is to see: scenes of one to four objects, described before they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black")
TEXTURES = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "large")
BACKGROUND_COLOURS = ("grey", "cream", "pale blue", "pale green", "lavender", "dark blue")
BACKGROUND_PATTERNS = ("plain", "lined", "gridded", "speckled")
CLASHES = {"grey": {"white"}, "cream": {"white", "yellow"}, "dark blue": {"black", "blue", "purple"}}
"""Colours that do not stand out from a background, by themselves or by their marks."""

Pair = tuple[str, str]
ALL_PAIRS: tuple[Pair, ...] = tuple(product(COLOURS, SHAPES))
HELD_OUT_PAIRS: tuple[Pair, ...] = tuple(zip(COLOURS, SHAPES, strict=False))
"""Pairs of colour and shape that no training scene has: one for each shape."""
TRAIN_PAIRS: tuple[Pair, ...] = tuple(pair for pair in ALL_PAIRS if pair not in HELD_OUT_PAIRS)

STREAMS = ("train", "heldout", "segmentation", "classification", "perception")
Relation = Literal["above", "below", "next to"]


@dataclass(frozen=True)
class Object:
    """One object; lengths are shares of the image's side, from its top left corner."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float
    radius: float
    angle: float
    """degrees by which it is turned"""

    @property
    def is_high(self) -> bool:
        """Whether its centre is in the upper half of the image."""
        return self.y < 0.5


@dataclass(frozen=True)
class Background:
    """What the objects lie on."""

    colour: str
    pattern: str


@dataclass(frozen=True)
class Scene:
    """Objects in a quarter of the image each, no two of the same colour and shape, on a background."""

    objects: tuple[Object, ...]
    background: Background


def generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """The randomness of one image of one of STREAMS, whatever else is drawn."""
    return np.random.default_rng([seed, STREAMS.index(stream), index])


def draw_count(rng: np.random.Generator) -> int:
    """How many objects a scene has."""
    return int(rng.choice([1, 2, 3, 4], p=[0.15, 0.35, 0.3, 0.2]))


def make_scene(rng: np.random.Generator, pairs: Sequence[Pair], count: int) -> Scene:
    """A random scene of `count` objects (1 to 4) whose colours and shapes are among `pairs`."""
    background = Background(pick(rng, BACKGROUND_COLOURS), pick(rng, BACKGROUND_PATTERNS))
    hidden = CLASHES.get(background.colour, set())
    visible = [pair for pair in pairs if pair[0] not in hidden]
    chosen = rng.choice(len(visible), size=count, replace=False)
    quarters = rng.permutation(4)[:count]
    return Scene(
        tuple(make_object(rng, visible[i], int(q)) for i, q in zip(chosen, quarters, strict=True)), background
    )


def make_object(rng: np.random.Generator, pair: Pair, quarter: int) -> Object:
    """A random object in a quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right)."""
    colour, shape = pair
    size = pick(rng, SIZES)
    radius = rng.uniform(0.1, 0.125) if size == "small" else rng.uniform(0.175, 0.205)
    room = 0.24 - radius
    x = 0.25 + 0.5 * (quarter % 2) + rng.uniform(-room, room)
    y = 0.25 + 0.5 * (quarter // 2) + rng.uniform(-room, room)
    return Object(shape, colour, pick(rng, TEXTURES), size, x, y, radius, rng.uniform(-14, 14))


def pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    """One of `values`."""
    return values[int(rng.integers(len(values)))]


def relation(first: Object, second: Object) -> Relation:
    """Where `first` is, seen from `second`. Never left or right: views are flipped at random."""
    if first.is_high == second.is_high:
        return "next to"
    return "above" if first.is_high else "below"
