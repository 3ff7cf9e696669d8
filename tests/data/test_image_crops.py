from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from cosmos.config.params import ViewParams
from cosmos.data.image_crops import (
    CLIP_MEAN,
    CLIP_STD,
    MAX_ASPECT,
    ImageViews,
    evaluation_transform,
)

MEAN, STD = (np.asarray(values, np.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    """Smooth colours with detail: gradients, stripes, a disc."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / width, 127 + 120 * np.sin(y / 3)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < height**2 / 9, 220, 40)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


class TestEvaluation:
    @pytest.mark.parametrize(("width", "height"), [(90, 60), (41, 97), (32, 32)])
    def test_the_transform_is_clips(self, width: int, height: int) -> None:
        from open_clip.transform import image_transform

        image = photograph(width, height)
        expected = image_transform(32, is_train=False)(image)
        assert torch.equal(evaluation_transform(32)(image), expected)

    @pytest.mark.parametrize("turn", [False, True])
    def test_a_line_of_pixels_is_not_blown_up_to_gigabytes(
        self, turn: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = np.zeros((5001, 1, 3), np.uint8)
        line[2500 - 200 : 2500 + 201] = 255
        image = Image.fromarray(line.transpose(1, 0, 2) if turn else line)
        resize, areas = Image.Image.resize, list[int]()

        def recording(image: Image.Image, size: tuple[int, int], *more: Any, **options: Any) -> Image.Image:
            areas.append(size[0] * size[1])
            return resize(image, size, *more, **options)

        monkeypatch.setattr(Image.Image, "resize", recording)
        pixels = evaluation_transform(32)(image).numpy() * STD + MEAN
        assert pixels.shape == (3, 32, 32)
        assert np.allclose(pixels, 1, atol=1e-5), "the crop is of the middle"
        assert max(areas) <= 32 * 32 * MAX_ASPECT


class TestViews:
    def test_shapes_and_types(self) -> None:
        views = ImageViews(ViewParams(image_size=32, local_size=16, num_local_crops=5))
        global_crops, local_crops = views(photograph())
        assert global_crops.shape == (2, 3, 32, 32)
        assert local_crops.shape == (5, 3, 16, 16)
        assert global_crops.dtype == local_crops.dtype == torch.float32
        assert global_crops.is_contiguous()

    def test_no_local_crops_are_an_empty_tensor(self) -> None:
        views = ImageViews(ViewParams(image_size=32, local_size=16, num_local_crops=0))
        assert views(photograph())[1].shape == (0, 3, 16, 16)

    def test_views_follow_torchs_generator(self) -> None:
        views = ImageViews(ViewParams(image_size=32, local_size=16))

        def drawn(seed: int) -> torch.Tensor:
            torch.manual_seed(seed)
            return torch.cat([crops.flatten() for crops in views(photograph())])

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))

    def test_pixels_are_bytes_normalised_by_clips_figures(self) -> None:
        pixels = ImageViews(ViewParams(image_size=32, local_size=16))(photograph())[0].numpy() * STD + MEAN
        assert np.abs(pixels * 255 - np.rint(pixels * 255)).max() < 1e-3
        assert -1e-6 < pixels.min() <= pixels.max() < 1 + 1e-6

    def test_one_photograph_gives_as_many_different_views_as_asked_for(self) -> None:
        views = ImageViews(ViewParams(image_size=32, local_size=32, num_local_crops=4))
        crops = torch.cat(views(photograph()))
        assert len({crop.numpy().tobytes() for crop in crops}) == 6


class Operations:
    """Record of Pillow's operations on each view, which are carried out all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.views: list[dict[str, Any]] = []
        for owner, name in (
            (Image.Image, "crop"),
            (Image.Image, "transpose"),
            (Image.Image, "filter"),
            (ImageEnhance, "Brightness"),
            (ImageOps, "solarize"),
        ):
            monkeypatch.setattr(owner, name, self._recording(getattr(owner, name), name))

    def _recording(self, operation: Callable[..., Any], name: str) -> Callable[..., Any]:
        def record(*arguments: Any) -> Any:
            if name == "crop":
                self.views.append({})
            self.views[-1][name] = arguments[1:]
            return operation(*arguments)

        return record

    def share(self, view: int, num_views: int, name: str) -> float:
        """Return the share of draws in which this view had that operation."""
        return float(np.mean([name in operations for operations in self.views[view::num_views]]))


@pytest.fixture(scope="module")
def operations() -> Operations:
    """Operations of 600 draws of one view of each kind, on a square photograph."""
    torch.manual_seed(0)
    views = ImageViews(ViewParams(image_size=16, local_size=8, num_local_crops=1, crop_scale=0.4))
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorded = Operations(monkeypatch)
        for _ in range(600):
            views(photograph(120, 120))
    return recorded


class TestTheTableOfViews:
    """Operations of each view are as frequent and as strong as in the method's table."""

    @pytest.mark.parametrize(
        ("name", "shares"),
        [
            ("transpose", (0.5, 0.5, 0.5)),
            ("Brightness", (0.8, 0.8, 0.8)),
            ("filter", (1.0, 0.1, 0.5)),
            ("solarize", (0.0, 0.2, 0.0)),
        ],
    )
    def test_how_often(self, operations: Operations, name: str, shares: tuple[float, ...]) -> None:
        measured = [operations.share(view, 3, name) for view in range(3)]
        assert measured == pytest.approx(shares, abs=0.08)
        assert [share in (0, 1) for share in measured] == [share in (0, 1) for share in shares]

    @pytest.mark.parametrize(("view", "least", "most"), [(0, 0.4, 1), (1, 0.4, 1), (2, 0.05, 0.4)])
    def test_share_of_the_area(self, operations: Operations, view: int, least: float, most: float) -> None:
        boxes = [operations["crop"][0] for operations in operations.views[view::3]]
        shares = [(right - left) * (lower - upper) / 120**2 for left, upper, right, lower in boxes]
        assert least - 0.01 < min(shares) < least + 0.05
        assert most - 0.1 < max(shares) < most + 0.01

    def test_width_of_the_blur(self, operations: Operations) -> None:
        radii = [operations["filter"][0].radius for operations in operations.views[::3]]
        assert 0.1 <= min(radii) < 0.15
        assert 1.95 < max(radii) <= 2.0

    def test_solarising_starts_at_128(self, operations: Operations) -> None:
        assert {o["solarize"][0] for o in operations.views if "solarize" in o} == {128}

    def test_a_fifth_of_the_views_is_grey_in_three_channels(self) -> None:
        torch.manual_seed(0)
        views = ImageViews(ViewParams(image_size=8, local_size=8, num_local_crops=2))
        drawn = torch.cat([torch.cat(views(photograph(20, 20))) for _ in range(200)])
        pixels = drawn.numpy() * STD + MEAN
        assert np.mean(np.ptp(pixels, axis=1).max(axis=(1, 2)) < 1e-3) == pytest.approx(0.2, abs=0.06)
