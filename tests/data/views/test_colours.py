"""Colours of views, in a worker and on a device: both are Pillow's, and torchvision's composition."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as published
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision import transforms

from cosmos.config.params import ViewParams
from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD
from cosmos.data.views.changes import hue_turns, mix_coefficients
from cosmos.data.views.crops import Crops, ImageViews
from cosmos.data.views.device_colours import ColourChanges, UncolouredCrops, colour, mix_views, turn_hues
from cosmos.data.views.worker_colours import colour_in_worker, mix_colours, turn_hue
from tests.data.views.examples import detailed_picture, unchanged

MEAN, STD = (np.array(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
CPU = torch.device("cpu")

Levels = NDArray[np.float64]
"""(..., 3, H, W), between 0 and 255"""


def colour_on_device(crops: Crops) -> Tensor:
    pixels = torch.from_numpy(crops.pixels)[None]
    return UncolouredCrops(pixels, ColourChanges.of(crops.draws)).colour_on(CPU)[0]


WAYS = {"worker": colour_in_worker, "device": colour_on_device}


def levels(views: Tensor) -> Levels:
    return np.asarray(255 * (views.numpy() * STD + MEAN))


def of_image(image: Image.Image) -> Levels:
    return np.asarray(image, np.float64).transpose(2, 0, 1)


def hue_factor(turns: NDArray[np.float32]) -> float:
    """Return torchvision's factor of a turn in sixths of the colour wheel."""
    return float((turns[0] / 6 + 0.5) % 1 - 0.5)


def mix_on_device(pixels: Levels, mixes: NDArray[np.float32]) -> Levels:
    views = torch.from_numpy(pixels[None]).float()
    mix_views(views, torch.from_numpy(mixes))
    return views[0].double().numpy()


def turn_on_device(pixels: Levels, turns: NDArray[np.float32]) -> Levels:
    views = torch.from_numpy(pixels[None]).float()
    return turn_hues(views, torch.from_numpy(turns))[0].double().numpy()


def of_crop(operation: Callable[[Any, Any], Any]) -> Callable[[Levels, NDArray[np.float32]], Levels]:
    """Return an operation on a worker's crops, whose channels come last, as one on levels."""

    def operate(pixels: Levels, coefficients: NDArray[np.float32]) -> Levels:
        crop = np.ascontiguousarray(pixels.transpose(1, 2, 0), np.float32)
        return np.asarray(operation(crop, coefficients[0]).transpose(2, 0, 1), np.float64)

    return operate


MIXES = {"worker": of_crop(mix_colours), "device": mix_on_device}
TURNS = {"worker": of_crop(turn_hue), "device": turn_on_device}

PICTURES = [detailed_picture(64, 64, seed) for seed in range(4)]


@pytest.mark.parametrize("way", WAYS)
class TestOperations:
    """Each operation is that of Pillow, for the same numbers."""

    def differences(self, way: str, pillow: Callable[[Image.Image], Image.Image], **draw: Any) -> Levels:
        crops = Crops(np.stack([np.asarray(picture) for picture in PICTURES]), unchanged(4, **draw))
        expected = [of_image(pillow(picture)) for picture in PICTURES]
        return np.abs(levels(WAYS[way](crops)) - expected)

    def test_none_leaves_bytes(self, way: str) -> None:
        assert self.differences(way, lambda image: image).max() < 1e-3

    @pytest.mark.parametrize("factor", [0.6, 0.93, 1.0, 1.17, 1.4])
    @pytest.mark.parametrize(
        ("place", "operation"),
        [
            (0, published.adjust_brightness),
            (1, published.adjust_contrast),
            (2, published.adjust_saturation),
        ],
    )
    def test_brightness_contrast_and_saturation(
        self, way: str, place: int, operation: Callable[..., Image.Image], factor: float
    ) -> None:
        mixes = mix_coefficients(unchanged(is_jittered=True, factors=factor))[:, place]
        for picture in PICTURES:
            expected = of_image(operation(picture, factor))
            assert np.abs(MIXES[way](of_image(picture), mixes) - expected).max() < 1

    @pytest.mark.parametrize("turn", [-0.1, -0.043, 0.0, 0.05, 0.1])
    def test_hue(self, way: str, turn: float) -> None:
        turns = hue_turns(unchanged(is_jittered=True, hue=turn))
        for picture in PICTURES:
            turned = TURNS[way](of_image(picture), turns)
            differences = np.abs(turned - of_image(published.adjust_hue(picture, turn)))
            assert np.quantile(differences, 0.99) <= 2  # Pillow has 255 hues: more levels for pure colours
            exact = published.adjust_hue(torch.from_numpy(of_image(picture)) / 255, hue_factor(turns))
            assert np.abs(turned - 255 * exact.numpy()).max() < 0.01

    def test_grey(self, way: str) -> None:
        grey = self.differences(way, lambda image: image.convert("L").convert("RGB"), is_grey=True)
        assert grey.max() < 0.51

    @pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.3, 2.0])
    def test_blur(self, way: str, sigma: float) -> None:
        blur = ImageFilter.GaussianBlur(sigma)
        differences = self.differences(way, lambda image: image.filter(blur), sigma=sigma)
        assert np.quantile(differences, 0.99) <= 2  # Pillow rounds six times
        assert differences.max() < 3.5

    def test_solarising(self, way: str) -> None:
        solarised = self.differences(way, lambda image: published.solarize(image, 128), is_solarised=True)
        assert solarised.max() < 1e-3

    def test_follow_the_drawn_order(self, way: str) -> None:
        crops = Crops(
            np.stack([np.asarray(PICTURES[0])] * 2),
            unchanged(2, is_jittered=True, factors=(1.4, 0.6, 0.8), slots=[(0, 1, 2), (2, 1, 0)]),
        )
        first, last = levels(WAYS[way](crops))
        bright = published.adjust_brightness(PICTURES[0], 1.4)
        expected = published.adjust_saturation(published.adjust_contrast(bright, 0.6), 0.8)
        assert np.abs(first - of_image(expected)).mean() < 1
        assert np.abs(last - of_image(expected)).mean() > 2


@pytest.mark.parametrize(("size", "local_size", "count"), [(32, 16, 20), (24, 7, 5), (8, 1, 5)])
def test_worker_and_device_agree_to_float_error(size: int, local_size: int, count: int) -> None:
    views = ImageViews(ViewParams(image_size=size, local_size=local_size, num_local_crops=6))
    rng = np.random.default_rng(0)
    samples = [views.crop(detailed_picture(90, 60, seed), rng) for seed in range(count)]
    for crops in zip(*samples, strict=True):
        in_worker = torch.stack([colour_in_worker(part) for part in crops])
        pixels = torch.from_numpy(np.stack([part.pixels for part in crops]))
        changes = ColourChanges.of(np.concatenate([part.draws for part in crops]))
        on_device = UncolouredCrops(pixels, changes).colour_on(CPU)
        assert on_device.is_contiguous()
        assert (in_worker - on_device).abs().max() < 1e-4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_stay_finite(way: str, level: int) -> None:
    rng = np.random.default_rng(0)
    views = ImageViews(ViewParams(image_size=16, local_size=8, num_local_crops=6))
    for crops in views.crop(Image.new("RGB", (20, 20), (level,) * 3), rng):
        assert WAYS[way](crops).isfinite().all()


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(torch.empty(1).uniform_(0.1, 2.0).item()))


def published_view(size: int, area: tuple[float, float], blur: float, solarise: float) -> Any:
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, area, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([blurred], p=blur),
            transforms.RandomSolarize(128, p=solarise),
        ]
    )


def statistics(views: Levels) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield means, variances, spectra and differences of colours of views, a row for each view."""
    grey = views.mean(axis=1)
    yield "mean", views.mean(axis=(2, 3))
    yield "deviation", views.std(axis=(2, 3))
    yield "colourfulness", np.ptp(views, axis=1).mean(axis=(1, 2), keepdims=True)[:, 0]
    power = np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True))) ** 2
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(grey.shape[1]), np.fft.rfftfreq(grey.shape[2])))
    bands = np.digitize(frequencies.T, [0.1, 0.2, 0.3, 0.4])
    yield "spectrum", np.stack([np.log1p(power[:, bands == band].mean(axis=1)) for band in range(5)], axis=1)
    bins = np.digitize(views.reshape(len(views), -1), np.arange(16, 256, 16))
    yield "histogram", np.stack([(bins == level).mean(axis=1) for level in range(16)], axis=1)


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_views_are_distributed_as_the_published_ones(count: int) -> None:
    torch.manual_seed(0)
    pictures = [detailed_picture(96, 72, seed) for seed in range(count)]
    settings = ViewParams(image_size=48, local_size=24, num_local_crops=1, crop_scale=0.4)
    kinds = [(48, (0.4, 1.0), 1.0, 0.0), (48, (0.4, 1.0), 0.1, 0.2), (24, (0.05, 0.4), 0.5, 0.0)]
    expected = [np.stack([of_image(published_view(*kind)(each)) for each in pictures]) for kind in kinds]
    views, rng = ImageViews(settings), np.random.default_rng(0)
    samples = [tuple(map(colour_in_worker, views.crop(picture, rng))) for picture in pictures]
    ours = [*levels(torch.stack([crops for crops, _ in samples])).swapaxes(0, 1)]
    ours += [levels(torch.cat([crops for _, crops in samples]))]
    for kind, (sample, reference) in enumerate(zip(ours, expected, strict=True)):
        for (name, values), (_, targets) in zip(statistics(sample), statistics(reference), strict=True):
            error = np.sqrt((values.var(axis=0) + targets.var(axis=0)) / count)
            difference = np.abs(values.mean(axis=0) - targets.mean(axis=0))
            assert (difference <= 4 * error).all(), (kind, name, difference / error)
            spread = values.std(axis=0), targets.std(axis=0)
            assert np.allclose(*spread, rtol=6 / np.sqrt(count), atol=0.02), (kind, name, spread)


def test_colours_of_a_gpu_read_no_value_back() -> None:
    """A fake GPU has no values: reading one raises DataDependentOutputException."""
    draws = unchanged(4, is_jittered=[True, True, False, True], sigma=[0, 1, 1, 0], is_solarised=[1, 0, 0, 1])
    changes = ColourChanges.of(draws)
    with FakeTensorMode(), torch.device("cuda"):
        on_gpu = changes.map(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
        views = colour(torch.empty(4, 3, 16, 16), on_gpu)
    assert (views.device.type, views.shape) == ("cuda", (4, 3, 16, 16))
