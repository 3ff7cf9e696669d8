from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD, MAX_ASPECT, evaluation_transform

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
