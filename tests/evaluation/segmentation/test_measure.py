import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.config.evaluate_params import Attention, SegmentationProtocol
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD
from cosmos.data.tokenizer import CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY, Tokenizer
from cosmos.distributed.group import process_group
from cosmos.errors import OutOfMemoryError
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.embedding_cache import NoCache
from cosmos.evaluation.images import ImageFiles
from cosmos.evaluation.segmentation.masks import read_mask_labels
from cosmos.evaluation.segmentation.measure import (
    SegmentationDataset,
    find_class_images,
    measure,
    resize_image,
    resized_size,
    segment_images,
)
from cosmos.evaluation.segmentation.metrics import IGNORED_CLASS
from tests.evaluation.examples import COLOURS, ColourEncoder
from tests.forks import run_ranks

PROTOCOL = SegmentationProtocol(short_side=16)
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "segmentation.py"


@cache
def name_tokens() -> Tensor:
    """Return the token of each colour's name."""
    return Tokenizer(CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY).encode(list(COLOURS))[:, 1]


@dataclass(frozen=True)
class PromptedColours(ColourEncoder):
    """Embeds a caption as the colour that it names."""

    def encode_texts(self, tokens: Tensor) -> Tensor:
        which = (tokens[:, None] == name_tokens()[:, None]).any(dim=2).double().argmax(dim=1)
        colours = torch.tensor(list(COLOURS.values()))[which] / 255
        return normalize(colours - 0.5, dim=-1)


@dataclass(frozen=True)
class BrokenColours(PromptedColours):
    """Patches of yellow images have no finite embedding."""

    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        yellow = (images[:, 0] > 0).all(dim=(1, 2)) & (images[:, 1] > 0).all(dim=(1, 2))
        patches = super().encode_patches(images, attention)
        return [found.masked_fill(yellow[:, None, None, None], torch.nan) for found in patches]


def embedder(encoder: Encoder | None = None, workers: int = 0, window_batch_size: int = 16) -> Embedder:
    machine = Machine(workers=workers, window_batch_size=window_batch_size)
    return Embedder(encoder or PromptedColours(), machine, NoCache(), quiet=True)


def write_stripes(path: Path, colours: Sequence[str]) -> None:
    """An image of 20 rows, with a stripe of 20 columns for each colour."""
    pixels = np.repeat(np.array([[COLOURS[colour] for colour in colours]], dtype=np.uint8), 20, axis=1)
    Image.fromarray(np.repeat(pixels, 20, axis=0)).save(path)


def write_mask(path: Path, labels: Sequence[int], mode: str = "L") -> None:
    """Labels of such an image."""
    pixels = np.repeat(np.repeat(np.array([labels], dtype=np.uint8), 20, axis=1), 20, axis=0)
    mask = Image.fromarray(pixels)
    if mode == "P":
        mask = Image.frombytes("P", mask.size, mask.tobytes())
        mask.putpalette([7, 7, 200] * 256)
    mask.save(path)


def stripes(
    folder: Path,
    *pictures: tuple[Sequence[str], Sequence[int]],
    classes: Sequence[str] = ("red", "green", "blue"),
    protocol: SegmentationProtocol = PROTOCOL,
) -> SegmentationDataset:
    """A dataset of striped images: the colours and the labels of each. Synonyms of classes after commas."""
    for i, (colours, labels) in enumerate(pictures):
        write_stripes(folder / f"{i}.png", colours)
        write_mask(folder / f"{i}-mask.png", labels)
    numbers = range(len(pictures))
    images = ImageFiles(folder, tuple(folder / f"{i}.png" for i in numbers), max_pixels=10_000)
    masks = tuple(folder / f"{i}-mask.png" for i in numbers)
    words = tuple(tuple(line.split(",")) for line in classes)
    names = tuple(first for first, *_ in words)
    return SegmentationDataset("stripes", images, masks, words, names, protocol)


def measured(dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder) -> Figures:
    return measure(dataset, attention, embedder).figures


def test_images_are_segmented_by_the_words_of_classes_and_compared_at_the_size_of_their_masks(
    tmp_path: Path,
) -> None:
    # Half of blue is labelled green: IoU 1 of red, 0 of green, and 1/2 of blue.
    dataset = stripes(tmp_path, (["red", "blue", "blue", "red"], [0, 2, 1, 0]))
    assert measured(dataset, ["csa"], embedder()) == {
        "csa_mIoU": pytest.approx(0.5),
        "csa_accuracy": pytest.approx(0.75),
        "csa_IoU/red": pytest.approx(1),
        "csa_IoU/green": 0,
        "csa_IoU/blue": pytest.approx(0.5),
    }


def test_every_kind_of_attention_has_figures_of_its_own(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red", "blue"], [0, 2]))
    figures = measured(dataset, ["csa", "plain"], embedder())
    assert {name for name in figures if "/" not in name} == {
        "csa_mIoU",
        "csa_accuracy",
        "plain_mIoU",
        "plain_accuracy",
    }


def test_a_class_is_found_by_any_of_its_words_and_named_by_the_first(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red", "yellow", "blue"], [0, 0, 1]), classes=["red,yellow", "blue"])
    figures = measured(dataset, ["plain"], embedder())
    assert figures["plain_IoU/red"] == figures["plain_IoU/blue"] == 1


def test_figures_are_of_one_confusion_matrix_over_the_whole_set(tmp_path: Path) -> None:
    # Green: 400 pixels right in the first image, 400 missed in the second.
    dataset = stripes(tmp_path, (["red", "green"], [0, 1]), (["red", "red"], [0, 1]))
    figures = measured(dataset, ["plain"], embedder())
    assert figures["plain_IoU/green"] == pytest.approx(1 / 2)
    assert figures["plain_IoU/red"] == pytest.approx(2 / 3)


def test_ignored_pixels_do_not_count(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red", "blue", "green"], [0, 255, 1]))
    assert measured(dataset, ["plain"], embedder())["plain_accuracy"] == 1


def test_where_label_0_is_ignored_classes_are_labelled_from_1(tmp_path: Path) -> None:
    protocol = SegmentationProtocol(short_side=16, zero_is_ignored=True)
    dataset = stripes(tmp_path, (["red", "blue", "green"], [1, 0, 2]), protocol=protocol)
    assert measured(dataset, ["plain"], embedder())["plain_mIoU"] == 1


MANY = (
    (["red", "blue", "green"], [0, 2, 1]),
    (["red"], [0]),
    (["blue", "green"], [2, 2]),
    (["green", "yellow", "blue", "red"], [1, 1, 2, 2]),
)


@pytest.mark.parametrize(("workers", "window_batch_size"), [(0, 1), (0, 7), (2, 16)])
def test_figures_do_not_depend_on_workers_and_batches(
    tmp_path: Path, workers: int, window_batch_size: int
) -> None:
    dataset = stripes(tmp_path, *MANY)
    expected = measured(dataset, ["csa"], embedder())
    found = measured(dataset, ["csa"], embedder(workers=workers, window_batch_size=window_batch_size))
    assert found == pytest.approx(expected)


@dataclass(frozen=True)
class CountingColours(PromptedColours):
    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        self.image_batches.append(images)
        return super().encode_patches(images, attention)


def test_windows_of_several_images_share_a_batch(tmp_path: Path) -> None:
    encoder = CountingColours()
    measured(stripes(tmp_path, *MANY), ["csa"], embedder(encoder, window_batch_size=16))
    # Images are 16 high and 48, 16, 32 and 64 wide: 3 rows of 11, 3, 7 and 15 windows.
    assert [len(batch) for batch in encoder.image_batches] == [16] * 6 + [12]


def run_rank(rank: int, folder: str) -> None:
    with process_group("cpu", timedelta(minutes=5)):
        whole = measure(stripes(Path(folder) / str(rank), *MANY), ["csa"], embedder())
        one = stripes(Path(folder) / str(rank), MANY[0])
        alone = measured(one, ["csa"], embedder())
        write_mask(Path(folder) / str(rank) / "0-mask.png", [0, 7, 1])
        with pytest.raises(ValueError, match="label 7"):  # on the rank that has no image as well
            measured(one, ["csa"], embedder())
    values = {name: of_images.tolist() for name, of_images in whole.values.items()}
    (Path(folder) / f"{rank}.json").write_text(json.dumps([whole.figures, alone, values]))


def test_ranks_share_the_images_and_all_get_the_figures_of_the_whole(tmp_path: Path) -> None:
    for name in ("0", "1", "whole"):
        (tmp_path / name).mkdir()
    run_ranks(run_rank, str(tmp_path))
    expected: list[Figures] = [
        measured(stripes(tmp_path / "whole", *pictures), ["csa"], embedder()) for pictures in (MANY, MANY[:1])
    ]
    values = measure(stripes(tmp_path / "whole", *MANY), ["csa"], embedder()).values
    for rank in (0, 1):
        *found, shared = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == [pytest.approx(figures) for figures in expected]
        assert shared == {name: pytest.approx(of_images.tolist()) for name, of_images in values.items()}


def test_an_image_is_named_by_its_mask_when_its_embedding_is_not_finite(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red"], [0]), (["yellow"], [0]))
    with pytest.raises(ValueError, match=r"the image of .*1-mask\.png is not finite; take a checkpoint"):
        measured(dataset, ["csa"], embedder(BrokenColours()))


def test_a_gpu_with_too_little_memory_is_an_error_that_names_the_batch_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(encoder: PromptedColours, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(PromptedColours, "encode_patches", fail)
    with pytest.raises(OutOfMemoryError, match=r"16 at a time .* set COSMOS_WINDOW_BATCH_SIZE to less"):
        measured(stripes(tmp_path, *MANY), ["csa"], embedder())


def test_images_are_enlarged_to_what_the_model_sees_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small, large = (
        stripes(tmp_path, (["red"], [0]), protocol=SegmentationProtocol(short_side=side)) for side in (7, 8)
    )
    assert measured(small, ["csa"], embedder()) == measured(large, ["csa"], embedder())
    assert caplog.text.count("stripes: images are enlarged to the 8 pixels that the model sees") == 1


def test_a_set_whose_pixels_are_all_ignored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stripes: no pixel has a label; ignore_label"):
        measured(stripes(tmp_path, (["red"], [255])), ["csa"], embedder())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", ["1.png", "1-mask.png"])
def test_a_damaged_image_or_mask_is_named_without_a_traceback(
    tmp_path: Path, workers: int, name: str
) -> None:
    dataset = stripes(tmp_path, (["red"], [0]), (["blue"], [2]))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    with pytest.raises(ValueError, match=rf"^.*/{name}: .*leaves no image out") as caught:
        measured(dataset, ["csa"], embedder(workers=workers))
    assert "Traceback" not in str(caught.value)


def test_an_image_that_is_nearly_a_line_is_refused(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red"], [0]))
    Image.new("RGB", (51, 1)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="more than 50 times as long as wide"):
        measured(dataset, ["csa"], embedder())


class TestLabels:
    @pytest.mark.parametrize("mode", ["L", "P"])
    def test_values_of_greyscale_and_palette_masks_are_labels(self, tmp_path: Path, mode: str) -> None:
        write_mask(tmp_path / "mask.png", [2, 255], mode)
        labels = read_mask_labels(tmp_path / "mask.png", (40, 20), 3, PROTOCOL)
        assert labels.shape == (20, 40)
        assert labels[0, 0] == 2
        assert labels[0, -1] == IGNORED_CLASS

    def test_masks_of_one_and_of_sixteen_bits_are_read(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[True, False]])).save(tmp_path / "1.png")
        Image.fromarray(np.array([[300, 255]], dtype=np.uint16)).save(tmp_path / "16.png")
        assert read_mask_labels(tmp_path / "1.png", (2, 1), 2, PROTOCOL).tolist() == [[1, 0]]
        assert read_mask_labels(tmp_path / "16.png", (2, 1), 301, PROTOCOL).tolist() == [[300, IGNORED_CLASS]]

    def test_zero_is_ignored_the_rest_is_one_less_and_255_stays_ignored(self, tmp_path: Path) -> None:
        write_mask(tmp_path / "mask.png", [0, 1, 2, 255])
        protocol = SegmentationProtocol(zero_is_ignored=True)
        labels = read_mask_labels(tmp_path / "mask.png", (80, 20), 2, protocol)
        assert labels[0, ::20].tolist() == [IGNORED_CLASS, 0, 1, IGNORED_CLASS]

    def test_a_mask_of_another_size_is_named(self, tmp_path: Path) -> None:
        write_mask(tmp_path / "mask.png", [0])
        with pytest.raises(ValueError, match=r"mask\.png: .*it has 20 x 20 pixels, its image 20 x 21"):
            read_mask_labels(tmp_path / "mask.png", (20, 21), 3, PROTOCOL)

    def test_a_mask_in_colours_is_refused(self, tmp_path: Path) -> None:
        write_stripes(tmp_path / "mask.png", ["red"])
        with pytest.raises(ValueError, match=r"mask\.png: .*it is RGB, and no palette or greyscale image"):
            read_mask_labels(tmp_path / "mask.png", (20, 20), 3, PROTOCOL)

    def test_a_missing_mask_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"mask\.png: mask cannot be used: .*No such file"):
            read_mask_labels(tmp_path / "mask.png", (20, 20), 3, PROTOCOL)

    @pytest.mark.parametrize(("zero_is_ignored", "label"), [(False, 3), (True, 4)])
    def test_a_label_that_is_no_class_is_named_as_it_is_in_the_mask(
        self, tmp_path: Path, zero_is_ignored: bool, label: int
    ) -> None:
        write_mask(tmp_path / "mask.png", [0, label])
        protocol = SegmentationProtocol(zero_is_ignored=zero_is_ignored)
        with pytest.raises(ValueError, match=f"label {label} is none of the 3 classes .*ignore_label 255 or"):
            read_mask_labels(tmp_path / "mask.png", (40, 20), 3, protocol)


class TestResizing:
    @pytest.mark.parametrize(
        ("size", "resized"),
        [
            ((640, 480), (336, 448)),  # COCO
            ((500, 375), (336, 448)),  # VOC
            ((480, 640), (448, 336)),
            ((2048, 1024), (336, 672)),  # Cityscapes
            ((100, 50), (336, 672)),
            ((4000, 500), (256, 2048)),  # the long side stops at 2048
            ((4000, 100), (224, 8960)),  # but a window fits
        ],
    )
    def test_the_short_side_is_what_the_protocol_says(
        self, size: tuple[int, int], resized: tuple[int, int]
    ) -> None:
        assert resized_size(size, short_side=336, window=224) == resized

    def test_a_pixel_is_mixed_from_its_neighbours_alone_and_rounded_to_a_byte(self) -> None:
        # At a third of its size an image keeps every third pixel: nothing is averaged against aliasing.
        image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 12).repeat(3).reshape(3, 12, 3))
        assert bytes_of(resize_image(image, (1, 4)))[0].tolist() == [[13, 16, 19, 22]]
        # At half of it a pixel is the mean of four: 0, 1, 4 and 6 make 2.75.
        four = Image.fromarray(np.array([[0, 1], [4, 6]], dtype=np.uint8)).convert("RGB")
        assert bytes_of(resize_image(four, (1, 1)))[0].tolist() == [[3]]

    def test_an_image_of_the_right_size_is_only_normalised(self) -> None:
        image = Image.new("RGB", (3, 2), (10, 20, 250))
        assert bytes_of(resize_image(image, (2, 3)))[:, 1, 2].tolist() == [10, 20, 250]


def bytes_of(pixels: Tensor) -> Tensor:
    """(3, h, w) before it was normalised."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    scaled = (pixels * std + mean) * 255
    torch.testing.assert_close(scaled, scaled.round(), atol=1e-3, rtol=0)
    return scaled.round().int()


@pytest.mark.slow
def test_an_image_of_coco_object_takes_a_tenth_of_a_gigabyte_beside_a_vit_b_16() -> None:
    command = [sys.executable, str(BENCHMARK), "--only", "ours", "--images", "1"]
    done = subprocess.run(command, check=True, capture_output=True)
    # beside the libraries and the model, whose 1.3 to 1.4 GB are another number on each kind of machine
    assert json.loads(done.stdout.splitlines()[-1])["megabytes"] < 150


def test_each_class_is_found_in_the_image_that_has_most_of_it(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red", "blue"], [0, 2]), (["red", "red"], [0, 0]), (["red"], [255]))
    assert find_class_images(dataset, [2, 1, 0]) == {2: 0, 0: 1}


def test_chosen_images_are_segmented_in_their_order(tmp_path: Path) -> None:
    dataset = stripes(tmp_path, (["red"], [0]), (["green"], [1]), (["blue"], [2]))
    pictures = segment_images(dataset, ["csa"], embedder(), [2, 0])
    assert [int(picture.predicted[0, 0]) for picture in pictures] == [2, 0]
    assert [picture.class_names for picture in pictures] == [("red", "green", "blue")] * 2
