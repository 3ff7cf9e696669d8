"""Scenes of one to four objects, as data: they are drawn and described elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black")
TEXTURES = ("plain", "striped", "dotted", "checked")
SIZES = ("small", "large")
BACKGROUNDS = ("grey", "cream", "pale blue", "pale green", "lavender", "dark blue")
CLASHES = {"cream": {"white", "yellow"}, "dark blue": {"black", "blue", "purple"}, "grey": {"white"}}
"""Colours that do not stand out from a background."""


@dataclass(frozen=True)
class SceneObject:
    """Object of a scene; lengths are shares of the image's side."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float
    radius: float
    angle: float
    """degrees"""

    @property
    def is_high(self) -> bool:
        """True when the object is in the upper half of the image."""
        return self.y < 0.5

    @property
    def place(self) -> str:
        """Half of the image that the object is in, never left or right: views are flipped at random."""
        return "upper half" if self.is_high else "lower half"


@dataclass(frozen=True)
class Scene:
    """Objects on a background, each in a quarter of its own."""

    objects: tuple[SceneObject, ...]
    background: str


def make_scene(rng: np.random.Generator, num_objects: int | None = None) -> Scene:
    """Return a random scene, of one to four objects unless their number is given."""
    count = num_objects or int(rng.choice([1, 2, 3, 4], p=[0.15, 0.35, 0.3, 0.2]))
    background = choose_value(rng, BACKGROUNDS)
    colours = [colour for colour in COLOURS if colour not in CLASHES.get(background, set())]
    quarters = rng.permutation(4)[:count]
    return Scene(tuple(make_object(rng, int(quarter), colours) for quarter in quarters), background)


def make_object(rng: np.random.Generator, quarter: int, colours: Sequence[str]) -> SceneObject:
    """Return a random object in one quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right)."""
    size = choose_value(rng, SIZES)
    radius = rng.uniform(0.1, 0.125) if size == "small" else rng.uniform(0.175, 0.205)
    room = 0.24 - radius  # an object may touch its neighbour's quarter, but stays inside the image
    x = 0.25 + 0.5 * (quarter % 2) + rng.uniform(-room, room)
    y = 0.25 + 0.5 * (quarter // 2) + rng.uniform(-room, room)
    kinds = choose_value(rng, SHAPES), choose_value(rng, colours), choose_value(rng, TEXTURES)
    return SceneObject(*kinds, size, x, y, radius, rng.uniform(-14, 14))


def choose_value(rng: np.random.Generator, values: Sequence[str]) -> str:
    """Return a random one of `values`."""
    return values[int(rng.integers(len(values)))]


def spatial_relation(first: SceneObject, second: SceneObject) -> str:
    """Return the place of `first`, seen from `second`."""
    if first.is_high == second.is_high:
        return "next to"
    return "above" if first.is_high else "below"


def change_attribute(rng: np.random.Generator, scene: Scene, attribute: str) -> Scene:
    """Return the scene with another `colour` or `shape` of one object, one that no object of it has."""
    i = int(rng.integers(len(scene.objects)))
    item = scene.objects[i]
    if attribute == "colour":
        present = {o.colour for o in scene.objects}
        item = replace(item, colour=choose_value(rng, [c for c in COLOURS if c not in present]))
    else:
        present = {o.shape for o in scene.objects}
        item = replace(item, shape=choose_value(rng, [s for s in SHAPES if s not in present]))
    return replace(scene, objects=(*scene.objects[:i], item, *scene.objects[i + 1 :]))
