"""Drawings of scenes: pictures, and masks of colours."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cosmos.data.demo_world.scene import COLOURS, Scene, SceneObject

OVERSAMPLING = 3
JPEG_QUALITY = 92

COLOUR_VALUES = {
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (250, 219, 40),
    "green": (46, 150, 60),
    "blue": (38, 84, 214),
    "purple": (128, 50, 168),
    "pink": (245, 130, 180),
    "brown": (120, 72, 35),
    "white": (250, 250, 250),
    "black": (22, 22, 22),
    "grey": (150, 150, 150),
    "cream": (246, 236, 205),
    "pale blue": (190, 220, 245),
    "pale green": (195, 235, 195),
    "lavender": (215, 200, 240),
    "dark blue": (22, 32, 80),
}

Point = tuple[float, float]
Mask = NDArray[np.bool_]


def draw_scene(scene: Scene, side: int, rng: np.random.Generator) -> Image.Image:
    """Draw the scene, `side` x `side` pixels; colours, light and noise vary with `rng`."""
    canvas = side * OVERSAMPLING
    pixels = np.empty((canvas, canvas, 3), dtype=np.float32)
    pixels[:] = vary_colour(scene.background, rng)
    for item in scene.objects:
        mask = outline_mask(item, canvas)
        pixels[mask] = vary_colour(item.colour, rng)
        marks = mask & texture_mask(item, canvas, rng)
        pixels[marks] = pixels[marks] * 0.45 + (
            0 if item.colour in ("white", "yellow", "pink", "orange") else 140
        )
    picture = Image.fromarray(np.clip(pixels * draw_light(canvas, rng), 0, 255).astype(np.uint8))
    small = np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
    return Image.fromarray(np.clip(small + rng.normal(0, 4, small.shape), 0, 255).astype(np.uint8))


def draw_colour_mask(scene: Scene, side: int) -> Image.Image:
    """Draw the mask of colours: 0 for background, 1 + index in COLOURS for an object's pixels; 8-bit."""
    labels = np.zeros((side, side), dtype=np.uint8)
    for item in scene.objects:
        labels[outline_mask(item, side)] = 1 + COLOURS.index(item.colour)
    return Image.fromarray(labels)


def encode_jpeg(picture: Image.Image) -> bytes:
    """Return the picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def vary_colour(colour: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the colour of that name, RGB, with a random deviation."""
    return np.asarray(COLOUR_VALUES[colour], dtype=np.float32) + rng.normal(0, 7, 3).astype(np.float32)


def draw_light(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the brightness of each pixel: a slope in a random direction, (side, side, 1)."""
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.2)
    steps = np.linspace(-1, 1, side, dtype=np.float32)
    slope = math.cos(angle) * steps[None, :] + math.sin(angle) * steps[:, None]
    return np.asarray(rng.uniform(0.88, 1.08) + strength * slope, dtype=np.float32)[..., None]


def outline_mask(item: SceneObject, side: int) -> Mask:
    """Return the mask of the pixels that an object covers, (side, side)."""
    image = Image.new("1", (side, side))
    pen = ImageDraw.Draw(image)
    centre, radius = (item.x * side, item.y * side), item.radius * side
    if item.shape in ("circle", "ring"):
        pen.circle(centre, radius, fill=1)
        if item.shape == "ring":
            pen.circle(centre, radius * 0.55, fill=0)
    else:
        points = POINTS[item.shape]
        turn = math.radians(item.angle)
        cos, sin = math.cos(turn), math.sin(turn)
        pen.polygon(
            [
                (centre[0] + radius * (x * cos - y * sin), centre[1] + radius * (x * sin + y * cos))
                for x, y in points
            ],
            fill=1,
        )
    return np.asarray(image, dtype=np.bool_)


def texture_mask(item: SceneObject, side: int, rng: np.random.Generator) -> Mask:
    """Return the mask of an object's texture, (side, side), not cut to the object."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    period = max(side * 0.065, 6.0)
    u, v = x - item.x * side + rng.uniform(0, period), y - item.y * side + rng.uniform(0, period)
    match item.texture:
        case "striped":
            return np.asarray((u + v) % period < period / 2)
        case "dotted":
            return np.asarray(
                (u % period - period / 2) ** 2 + (v % period - period / 2) ** 2 < (0.3 * period) ** 2
            )
        case "checked":
            return np.asarray((u // period + v // period) % 2 == 0)
        case _:
            return np.zeros((side, side), dtype=np.bool_)


def _regular(corners: int, inner: float, start: float) -> list[Point]:
    """Return the corners of a star, inner ones at `inner` of the radius, from angle `start` in degrees."""
    angles = [math.radians(start + 180 * i / corners) for i in range(2 * corners)]
    return [
        ((inner if i % 2 else 1) * math.cos(a), (inner if i % 2 else 1) * math.sin(a))
        for i, a in enumerate(angles)
    ]


def _heart() -> list[Point]:
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    x = 16 * np.sin(angles) ** 3
    y = 13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)
    return [(float(a) / 16, float(-b) / 16) for a, b in zip(x, y, strict=True)]


_ARM = 0.36
POINTS: dict[str, list[Point]] = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -1), (0.95, 0.75), (-0.95, 0.75)],
    "diamond": [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)],
    "star": _regular(5, 0.42, -90),
    "cross": [
        *((-_ARM, -1.0), (_ARM, -1.0), (_ARM, -_ARM), (1.0, -_ARM), (1.0, _ARM), (_ARM, _ARM)),
        *((_ARM, 1.0), (-_ARM, 1.0), (-_ARM, _ARM), (-1.0, _ARM), (-1.0, -_ARM), (-_ARM, -_ARM)),
    ],
    "heart": _heart(),
}
"""Outlines inside the unit circle, y downwards."""
