"""Crop of a decoded image that is evaluated, and CLIP's normalisation."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_ASPECT = 50
"""Largest ratio of the sides of an image that is evaluated whole. A line of pixels, a hundred bytes as a
file, would be resized to gigabytes before all but its middle is thrown away."""


def evaluation_transform(size: int) -> Callable[[Image.Image], Tensor]:
    """Return CLIP's transform for evaluation: an RGB image -> (3, size, size) float32, normalised.

    The short side is resized to `size` (bicubic), then the centre is cropped. Of an image that is more than
    MAX_ASPECT times as long as wide only the middle is resized.
    """
    transform: Callable[[Image.Image], Tensor] = transforms.Compose(
        [
            _middle,
            transforms.Resize(size, InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    return transform


def _middle(image: Image.Image) -> Image.Image:
    """Return `image`, or its middle when it is longer than MAX_ASPECT times its width."""
    most = MAX_ASPECT * min(image.size)
    if max(image.size) <= most:
        return image
    left, upper = (max(0, (side - most) // 2) for side in image.size)
    return image.crop((left, upper, min(image.width, left + most), min(image.height, upper + most)))


def normalise(pixels: Tensor) -> Tensor:
    """Scale (..., 3, H, W) float32 between 0 and 255 to [0, 1] and normalise it, in place."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return pixels.div_(255).sub_(mean).div_(std)


def denormalise(pixels: Tensor) -> Tensor:
    """Return normalised pixels (..., 3, H, W) scaled to [0, 1] again."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return pixels.mul(std).add(mean).clamp(0, 1)
