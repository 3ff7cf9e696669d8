"""Scenes as pictures and as masks."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cosmos.data.demo.scene import SHAPES, Background, Object, Scene

OVERSAMPLING = 3
JPEG_QUALITY = 92
TEXTURE_PERIOD, BACKGROUND_PERIOD = 0.07, 0.13
"""distance between an object's and a background's marks, as a share of the image's side"""
NOISE = 4.0
"""standard deviation of a pixel's noise, of 255"""

RGB = {
    "red": (214, 36, 36),
    "orange": (250, 136, 20),
    "yellow": (250, 219, 40),
    "green": (40, 145, 55),
    "blue": (38, 84, 214),
    "purple": (125, 45, 165),
    "pink": (248, 120, 180),
    "brown": (118, 70, 34),
    "white": (250, 250, 250),
    "black": (22, 22, 22),
    "grey": (150, 150, 150),
    "cream": (246, 236, 205),
    "pale blue": (172, 210, 242),
    "pale green": (182, 228, 182),
    "lavender": (206, 188, 238),
    "dark blue": (22, 32, 80),
}
LIGHT_COLOURS = ("white", "yellow", "orange", "pink")
"""Colours of objects whose texture is darker than they are; on the others it is lighter."""

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float32]


def draw(scene: Scene, side: int, rng: np.random.Generator) -> Image.Image:
    """The scene, `side` x `side` pixels; shades, light, phase of textures and noise vary with `rng`."""
    canvas = side * OVERSAMPLING
    pixels = background(scene.background, canvas, rng)
    for item in scene.objects:
        mask = outline(item, canvas)
        pixels[mask] = shade(item.colour, rng)
        marks = mask & pattern(item.texture, canvas, TEXTURE_PERIOD, rng)
        pixels[marks] = marked(pixels[marks], item.colour)
    lit = np.clip(pixels * light(canvas, rng), 0, 255).astype(np.uint8)
    small = Image.fromarray(lit).resize((side, side), Image.Resampling.BOX)
    noise = rng.normal(0, NOISE, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8))


def draw_mask(scene: Scene, side: int) -> Image.Image:
    """Which shape covers the middle of each pixel: 0 background, 1 + index in SHAPES otherwise; 8-bit."""
    labels = np.zeros((side, side), dtype=np.uint8)
    middles = slice(OVERSAMPLING // 2, None, OVERSAMPLING)
    for item in scene.objects:
        labels[outline(item, side * OVERSAMPLING)[middles, middles]] = 1 + SHAPES.index(item.shape)
    return Image.fromarray(labels)


def jpeg(picture: Image.Image) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def shade(colour: str, rng: np.random.Generator) -> Pixels:
    """The colour of that name, as it happens to be here, (3,)."""
    return np.asarray(RGB[colour] + rng.normal(0, 5, 3), dtype=np.float32)


def marked(pixels: Pixels, colour: str) -> Pixels:
    """What a texture's marks make of `pixels` of an object of that colour."""
    return pixels * 0.55 if colour in LIGHT_COLOURS else pixels * 0.6 + 90


def background(item: Background, side: int, rng: np.random.Generator) -> Pixels:
    """The background alone, (side, side, 3). Its pattern is faint, so that objects stand out from it."""
    pixels = np.empty((side, side, 3), dtype=np.float32)
    pixels[:] = shade(item.colour, rng)
    marks = pattern(item.pattern, side, BACKGROUND_PERIOD, rng)
    pixels[marks] = pixels[marks] + 45 if item.colour == "dark blue" else pixels[marks] * 0.8
    return pixels


def light(side: int, rng: np.random.Generator) -> Pixels:
    """Brightness of each pixel: a slope in a random direction, (side, side, 1)."""
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.13)
    steps = np.linspace(-1, 1, side, dtype=np.float32)
    slope = math.cos(angle) * steps[None, :] + math.sin(angle) * steps[:, None]
    return np.asarray(rng.uniform(0.88, 1.06) + strength * slope, dtype=np.float32)[..., None]


def pattern(kind: str, side: int, period: float, rng: np.random.Generator) -> Mask:
    """Where a texture leaves marks on a canvas, (side, side); `period` is a share of the side."""
    if kind == "plain":
        return np.zeros((side, side), dtype=np.bool_)
    if kind == "speckled":
        cells = np.kron(rng.random((32, 32)) < 0.12, np.ones((-(-side // 32),) * 2, dtype=np.bool_))
        return np.asarray(cells[:side, :side], dtype=np.bool_)
    u, v = turned_grid(side, period, rng)
    match kind:
        case "striped":
            marks = u % 1 < 0.5
        case "dotted":
            marks = (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.3**2
        case "checked":
            marks = (np.floor(u) + np.floor(v)) % 2 == 0
        case "lined":
            marks = u % 1 < 0.2
        case "gridded":
            marks = (u % 1 < 0.16) | (v % 1 < 0.16)
        case _:
            raise AssertionError(kind)
    return np.asarray(marks, dtype=np.bool_)


def turned_grid(side: int, period: float, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Coordinates of each pixel in periods, turned and shifted at random, two of (side, side)."""
    angle, *shift = rng.uniform(0, 1, 3) * (math.pi, 1, 1)
    steps = np.arange(side, dtype=np.float32) / np.float32(side * period)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u = cos * steps[None, :] + sin * steps[:, None] + np.float32(shift[0])
    v = cos * steps[:, None] - sin * steps[None, :] + np.float32(shift[1])
    return u, v


def outline(item: Object, side: int) -> Mask:
    """The pixels that an object covers, (side, side)."""
    image = Image.new("1", (side, side))
    pen = ImageDraw.Draw(image)
    x, y, radius, turn = item.x * side, item.y * side, item.radius * side, math.radians(item.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    match item.shape:
        case "circle":
            pen.circle((x, y), radius, fill=1)
        case "ring":
            pen.circle((x, y), radius, fill=1)
            pen.circle((x, y), radius * 0.5, fill=0)
        case "crescent":
            pen.circle((x, y), radius, fill=1)
            pen.circle((x + 0.5 * radius * cos, y + 0.5 * radius * sin), radius * 0.78, fill=0)
        case _:
            corners = [
                (x + radius * (a * cos - b * sin), y + radius * (a * sin + b * cos))
                for a, b in CORNERS[item.shape]
            ]
            pen.polygon(corners, fill=1)
    return np.asarray(image, dtype=np.bool_)


Corners = list[tuple[float, float]]


def _star() -> Corners:
    angles = [math.radians(36 * i - 90) for i in range(10)]
    return [
        ((0.42 if i % 2 else 1) * math.cos(a), (0.42 if i % 2 else 1) * math.sin(a))
        for i, a in enumerate(angles)
    ]


def _heart() -> Corners:
    """The usual curve of a heart, x = sin^3 t."""
    angles = [2 * math.pi * i / 40 for i in range(40)]
    heights = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in angles]
    return [(math.sin(t) ** 3, -height / 17) for t, height in zip(angles, heights, strict=True)]


def _cross() -> Corners:
    arm = 0.34
    quarter = [(arm, -0.94), (arm, -arm), (0.94, -arm)]
    turns = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    return [(x * c - y * s, x * s + y * c) for c, s in turns for x, y in quarter]


CORNERS: dict[str, Corners] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -1), (0.9, 0.7), (-0.9, 0.7)],
    "diamond": [(0, -1), (0.68, 0), (0, 1), (-0.68, 0)],
    "star": _star(),
    "cross": _cross(),
    "heart": _heart(),
}
"""Outlines inside a circle of about one, y downwards."""
