import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.data.sample import DamagedSampleError, Sample
from cosmos.evaluation.datasets import RetrievalDataset, open_retrieval_dataset
from cosmos.params import DataParams, EvaluateParams, Params, RetrievalParams
from tests.evaluation.examples import COLOURS, image_bytes, machine, write_images, write_split


def params(layout: str, **settings: Any) -> Params:
    """Parameters of a layout: captions.json and images/ below the source root."""
    files = {} if layout == "shards" else {"annotations": "captions.json", "images": "images"}
    values = {"layout": layout, **files, **settings}
    retrieval = RetrievalParams.model_validate(values)
    return Params(data=DataParams(name="colours"), evaluate=EvaluateParams(retrieval=retrieval))


def colours(dataset: RetrievalDataset) -> list[tuple[int, ...]]:
    pixels = (dataset.images.read(index).getpixel((0, 0)) for index in range(len(dataset.images)))
    return [pixel for pixel in pixels if isinstance(pixel, tuple)]


def write_json(folder: Path, content: Any) -> None:
    (folder / "captions.json").write_text(json.dumps(content))


FLICKR30K = [
    {"image": "1.png", "caption": ["a red thing", "crimson"]},
    {"image": "2.png", "caption": ["a green thing"]},
]
COCO = {
    "images": [{"id": 7, "file_name": "1.png"}, {"id": 3, "file_name": "2.png"}],
    "annotations": [
        {"image_id": 7, "caption": "a red thing"},
        {"image_id": 3, "caption": "a green thing"},
        {"image_id": 7, "caption": "crimson"},
    ],
}
KARPATHY = {
    "images": [
        {"filename": "1.png", "split": "test", "sentences": [{"raw": "a red thing"}, {"raw": "crimson"}]},
        {"filename": "2.png", "split": "test", "sentences": [{"raw": "a green thing"}]},
        {"filename": "3.png", "split": "train", "sentences": [{"raw": "a blue thing"}]},
    ]
}


@pytest.mark.parametrize(
    ("layout", "content", "name"),
    [
        ("flickr30k", FLICKR30K, "flickr30k:captions.json"),
        ("coco", COCO, "coco:captions.json"),
        ("coco-karpathy", KARPATHY, "coco-karpathy:captions.json:test"),
    ],
)
def test_a_captions_file_and_a_folder_of_images_make_a_dataset(
    tmp_path: Path, layout: str, content: Any, name: str
) -> None:
    write_images(tmp_path / "images", {"1.png": "red", "2.png": "green"})
    write_json(tmp_path, content)
    dataset = open_retrieval_dataset(params(layout, split="test"), machine(tmp_path))
    assert dataset.name == name
    assert dataset.captions == ("a red thing", "crimson", "a green thing")
    assert dataset.caption_to_image == (0, 0, 1)
    assert colours(dataset) == [COLOURS["red"], COLOURS["green"]]


def test_flickr8k_comes_as_a_csv(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red", "2.png": "green"})
    (tmp_path / "captions.txt").write_text(
        'image,caption\n1.png,"red, all of it"\n2.png,green\n1.png,crimson\n'
    )
    dataset = open_retrieval_dataset(params("flickr8k", annotations="captions.txt"), machine(tmp_path))
    assert dataset.captions == ("red, all of it", "crimson", "green")
    assert dataset.caption_to_image == (0, 0, 1)


@pytest.mark.parametrize("place", ["val2014", "."])
def test_the_folder_may_hold_the_subfolder_that_the_captions_file_names_or_be_it(
    tmp_path: Path, place: str
) -> None:
    write_images(tmp_path / "images" / place, {"1.png": "blue"})
    entry = {"filename": "1.png", "filepath": "val2014", "split": "test", "sentences": [{"raw": "blue"}]}
    write_json(tmp_path, {"images": [entry]})
    dataset = open_retrieval_dataset(params("coco-karpathy", split="test"), machine(tmp_path))
    assert colours(dataset) == [COLOURS["blue"]]


def test_missing_images_are_counted_and_the_first_named_before_anything_is_computed(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red"})
    write_json(tmp_path, [{"image": f"{i}.png", "caption": ["thing"]} for i in range(1, 10)])
    with pytest.raises(
        ValueError, match=r"captions.json: 8 of its 9 images are missing: .*2.png.*, \.\.\.; "
    ) as e:
        open_retrieval_dataset(params("flickr30k"), machine(tmp_path))
    assert "6.png" in str(e.value)
    assert "7.png" not in str(e.value)


def test_a_folder_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    write_json(tmp_path, FLICKR30K)
    with pytest.raises(ValueError, match=r"images: no such folder; correct evaluate\.retrieval\.images"):
        open_retrieval_dataset(params("flickr30k"), machine(tmp_path))


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "a/../../secret.png"])
def test_a_captions_file_cannot_name_images_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    write_images(tmp_path, {"secret.png": "red", "images/1.png": "red"})
    write_json(tmp_path, [{"image": name, "caption": ["thing"]}])
    with pytest.raises(ValueError, match=r"captions\.json: .*secret\.png.*not a path below"):
        open_retrieval_dataset(params("flickr30k"), machine(tmp_path))


def test_an_image_with_too_many_pixels_or_none_is_named_by_its_file(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red"})
    (tmp_path / "images" / "2.png").write_bytes(b"not an image")
    write_json(tmp_path, FLICKR30K)
    small = params("flickr30k").model_copy(update={"data": DataParams(name="colours", max_pixels=100)})
    dataset = open_retrieval_dataset(small, machine(tmp_path))
    for index, message in enumerate([r"1\.png: image of 12 x 10 pixels", r"2\.png: image cannot"]):
        with pytest.raises(DamagedSampleError, match=message):
            dataset.images.read(index)


def test_a_prepared_split_gives_the_captions_that_people_wrote(tmp_path: Path) -> None:
    annotation = {"raw_caption": ["a red thing"], "longSV_captions": ["a machine's words", "more of them"]}
    samples = [Sample("a", image_bytes("red"), annotation)]
    write_split(tmp_path / "data" / "colours" / "heldout", samples, "dreamlip")
    dataset = open_retrieval_dataset(params("shards"), machine(tmp_path))
    assert dataset.name == "colours/heldout"
    assert dataset.captions == ("a red thing",)
    assert colours(dataset) == [COLOURS["red"]]


def test_a_split_that_was_not_prepared_is_told_apart_from_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`cosmos prepare` makes it"):
        open_retrieval_dataset(params("shards"), machine(tmp_path))
    samples = [Sample("a", image_bytes("red"), {"captions": ["red"]})]
    write_split(tmp_path / "data" / "colours" / "train", samples)
    with pytest.raises(ValueError, match=r"split: .*colours has no split 'heldout', only train"):
        open_retrieval_dataset(params("shards"), machine(tmp_path))


def test_a_damaged_shard_is_refused_because_figures_of_the_rest_would_pass_for_the_whole(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data" / "colours" / "heldout"
    write_split(folder, [Sample(c, image_bytes(c), {"captions": [c]}) for c in COLOURS])
    shard = folder / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(
        ValueError, match=r"1 shards are damaged: shard-00000\.tar.*run `cosmos prepare` again"
    ):
        open_retrieval_dataset(params("shards"), machine(tmp_path))


def test_a_sample_whose_image_is_damaged_is_named_by_its_key(tmp_path: Path) -> None:
    sample = Sample("odd-one", image_bytes("red")[:40], {"captions": ["red"]})
    write_split(tmp_path / "data" / "colours" / "heldout", [sample])
    dataset = open_retrieval_dataset(params("shards"), machine(tmp_path))
    with pytest.raises(DamagedSampleError, match="sample odd-one: image cannot be decoded"):
        dataset.images.read(0)
