"""Crops of decoded images: random views for pretraining, the view for evaluation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from cosmos.config.params import ViewParams

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_ASPECT = 50
"""Largest ratio of the sides of an image that is evaluated whole. A line of pixels, a hundred bytes as a
file, would be resized to gigabytes before all but its middle is thrown away."""

ViewTransform = Callable[[Image.Image], Image.Image]

_SMALLEST_LOCAL_CROP = 0.05
"""Share of the image's area."""


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


class ImageViews:
    """Random views of an image: two global crops, then n local ones. Source: COSMOS, image views.

    Randomness comes from torch's generator. The image is decoded once for all views, and pixels stay bytes
    until the views of one size are normalised together.
    """

    def __init__(self, views: ViewParams) -> None:
        large, small = (views.crop_scale, 1.0), (_SMALLEST_LOCAL_CROP, views.crop_scale)
        solarise = transforms.RandomSolarize(threshold=128, p=0.2)
        self._globals = (
            _view(views.image_size, large, blur=1.0),
            _view(views.image_size, large, solarise, blur=0.1),
        )
        self._locals = (_view(views.local_size, small, blur=0.5),) * views.num_local_crops
        self._local_size = views.local_size

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """Draw global crops (2, 3, S, S) and local crops (n, 3, s, s) of an RGB image, normalised float32."""
        global_crops = _normalised([view(image) for view in self._globals])
        if not self._locals:
            return global_crops, torch.empty(0, 3, self._local_size, self._local_size)
        return global_crops, _normalised([view(image) for view in self._locals])


def _view(size: int, area: tuple[float, float], *more: ViewTransform, blur: float) -> ViewTransform:
    """Return a random view of `size` pixels, of a share of the image's `area`, blurred with chance `blur`."""
    jitter = transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    view: ViewTransform = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, area, (3 / 4, 4 / 3), InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(0.5),
            transforms.RandomApply([jitter], 0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([_blurred], blur),
            *more,
        ]
    )
    return view


def _blurred(image: Image.Image) -> Image.Image:
    """Blur `image` by a Gaussian of random width, sigma ~ U(0.1, 2.0) pixels."""
    sigma = torch.empty(1).uniform_(0.1, 2.0).item()
    return image.filter(ImageFilter.GaussianBlur(sigma))


def _normalised(images: Sequence[Image.Image]) -> Tensor:
    """Return V RGB images of one size as (V, 3, S, S) float32, scaled to [0, 1] and normalised."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    return normalise(pixels.to(torch.float32, memory_format=torch.contiguous_format))


def normalise(pixels: Tensor) -> Tensor:
    """Scale (..., 3, H, W) float32 between 0 and 255 to [0, 1] and normalise it, in place."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return pixels.div_(255).sub_(mean).div_(std)
