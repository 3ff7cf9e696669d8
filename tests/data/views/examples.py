"""Pictures with the detail of photographs, and draws of views."""

from typing import Any

import numpy as np
from PIL import Image

from cosmos.data.views.draws import VIEW, Draws


def detailed_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise at all scales, the coarser the stronger, more of brightness than of colour."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(70, 180) + np.tile(rng.normal(0, 20, 3), (height, width, 1))
    for scale in (2, 4, 8, 16, 32):
        shape = (height // scale + 1, width // scale + 1)
        noise = rng.normal(size=(*shape, 1)) + rng.normal(0, 0.4, (*shape, 3))
        levels += 4 * np.sqrt(scale) * noise.repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width]
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def unchanged(count: int = 1, **changes: Any) -> Draws:
    """Draws of views that keep their colours, but for these changes."""
    draws = np.zeros(count, VIEW)
    draws["factors"], draws["slots"] = 1, np.arange(3)
    for name, value in changes.items():
        draws[name] = value
    return draws
