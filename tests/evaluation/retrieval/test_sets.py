import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.evaluate_params import RetrievalSet
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params
from cosmos.data.sample import Sample
from cosmos.data.sources.caption_files import read_coco
from cosmos.errors import DamagedDataError
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.retrieval.layouts import CaptionsFile, read_captions_file, read_split
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.evaluation.retrieval.sets import CARDS, own_card
from tests.data.examples import flip_bit_behind
from tests.evaluation.examples import (
    COLOURS,
    ColourEncoder,
    embedder,
    image_bytes,
    machine,
    write_images,
    write_split,
)

MAX_PIXELS = 1000
PARAMS = Params(data=DataParams(name="colours"))


def dataset(folder: Path, layout: str, **settings: Any) -> RetrievalDataset:
    """A set of one's own: captions.json and images/ in the folder."""
    values = {"layout": layout, "annotations": "captions.json", "images": "images", **settings}
    opened = own_card("mine", RetrievalSet.model_validate(values)).open(PARAMS, machine(folder))
    found: RetrievalDataset = opened.measure.args[0]  # type: ignore[attr-defined]
    return found


def published(folder: Path, name: str) -> OpenDataset:
    """A published dataset below the folder."""
    card = next(card for card in CARDS if card.name == name)
    return card.open(PARAMS, Machine(datasets_root=folder))


def colours(dataset: RetrievalDataset) -> list[tuple[int, ...]]:
    pixels = (dataset.images.read(index).getpixel((0, 0)) for index in range(len(dataset.images)))
    return [pixel for pixel in pixels if isinstance(pixel, tuple)]


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


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
    ("layout", "content"), [("flickr30k", FLICKR30K), ("coco", COCO), ("coco-karpathy", KARPATHY)]
)
def test_a_captions_file_and_a_folder_of_images_make_a_dataset(
    tmp_path: Path, layout: str, content: Any
) -> None:
    write_images(tmp_path / "images", {"1.png": "red", "2.png": "green"})
    write_json(tmp_path / "captions.json", content)
    found = dataset(tmp_path, layout)
    assert found.captions == ("a red thing", "crimson", "a green thing")
    assert found.caption_to_image == (0, 0, 1)
    assert colours(found) == [COLOURS["red"], COLOURS["green"]]


def test_a_csv_makes_a_dataset(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red", "2.png": "green"})
    (tmp_path / "captions.txt").write_text(
        'image,caption\n1.png,"red, all of it"\n2.png,green\n1.png,crimson\n'
    )
    found = dataset(tmp_path, "flickr8k", annotations="captions.txt")
    assert found.captions == ("red, all of it", "crimson", "green")
    assert found.caption_to_image == (0, 0, 1)


def test_the_published_datasets_are_found_where_their_cards_say(tmp_path: Path) -> None:
    write_images(tmp_path / "coco" / "images" / "val2017", {"1.png": "red", "2.png": "green"})
    write_json(tmp_path / "coco" / "annotations" / "captions_val2017.json", COCO)
    write_images(tmp_path / "coco" / "images" / "val2014", {"1.png": "red", "2.png": "green"})
    entries = [{**image, "filepath": "val2014"} for image in KARPATHY["images"]]
    write_json(tmp_path / "coco" / "dataset_coco.json", {"images": entries})
    write_images(tmp_path / "flickr30k" / "flickr30k-images", {"1.png": "red", "2.png": "green"})
    for split in ("val", "test"):
        entries = [{**image, "image": f"flickr30k-images/{image['image']}"} for image in FLICKR30K]
        write_json(tmp_path / "flickr30k" / f"flickr30k_{split}.json", entries)
    write_images(tmp_path / "flickr8k" / "Images", {"1.png": "red", "2.png": "green"})
    rows = "1.png,a red thing\n2.png,a green thing\n1.png,crimson\n"
    (tmp_path / "flickr8k" / "captions.txt").write_text(f"image,caption\n{rows}")
    names = [card.name for card in CARDS if card.name not in ("heldout", "train")]
    assert names == ["coco-val2017", "coco-karpathy", "flickr30k-val", "flickr30k-test", "flickr8k"]
    for name in names:
        assert published(tmp_path, name).size == {"num_images": 2, "num_captions": 3}


def test_a_published_dataset_that_is_not_there_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"captions_val2017\.json: no such file; `cosmos datasets` shows"):
        published(tmp_path, "coco-val2017")


def test_another_caption_order_of_images_or_change_of_a_file_is_another_dataset(tmp_path: Path) -> None:
    write_images(tmp_path / "flickr30k", {"1.png": "red", "2.png": "green"})
    annotations = tmp_path / "flickr30k" / "flickr30k_val.json"
    write_json(annotations, FLICKR30K)
    first = published(tmp_path, "flickr30k-val").fingerprint
    assert published(tmp_path, "flickr30k-val").fingerprint == first
    write_json(annotations, FLICKR30K[::-1])
    second = published(tmp_path, "flickr30k-val").fingerprint
    write_images(tmp_path / "flickr30k", {"1.png": "blue"})
    third = published(tmp_path, "flickr30k-val").fingerprint
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("place", ["val2014", "."])
def test_the_folder_may_hold_the_subfolder_that_the_captions_file_names_or_be_it(
    tmp_path: Path, place: str
) -> None:
    write_images(tmp_path / "images" / place, {"1.png": "blue"})
    entry = {"filename": "1.png", "filepath": "val2014", "split": "test", "sentences": [{"raw": "blue"}]}
    write_json(tmp_path / "captions.json", {"images": [entry]})
    assert colours(dataset(tmp_path, "coco-karpathy")) == [COLOURS["blue"]]


def test_missing_images_are_counted_and_the_first_named_before_anything_is_computed(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red"})
    write_json(tmp_path / "captions.json", [{"image": f"{i}.png", "caption": ["x"]} for i in range(1, 10)])
    with pytest.raises(
        ValueError, match=r"captions.json: 8 of 9 images are missing: .*2.png.*, \.\.\.; "
    ) as e:
        dataset(tmp_path, "flickr30k")
    assert "6.png" in str(e.value)
    assert "7.png" not in str(e.value)


def test_a_folder_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    write_json(tmp_path / "captions.json", FLICKR30K)
    with pytest.raises(ValueError, match=r"images: no such folder; correct evaluate\.retrieval\.own\.mine"):
        dataset(tmp_path, "flickr30k")


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "a/../../secret.png"])
def test_a_captions_file_cannot_name_images_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    write_images(tmp_path, {"secret.png": "red", "images/1.png": "red"})
    write_json(tmp_path / "captions.json", [{"image": name, "caption": ["thing"]}])
    with pytest.raises(ValueError, match=r"captions\.json: .*secret\.png.*not a path below"):
        dataset(tmp_path, "flickr30k")


def test_an_image_with_too_many_pixels_or_none_is_named_by_its_file(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1.png": "red"})
    (tmp_path / "images" / "2.png").write_bytes(b"not an image")
    write_json(tmp_path / "captions.json", COCO)
    file = CaptionsFile(read_coco, tmp_path / "captions.json", tmp_path / "images", "")
    found = read_captions_file(file, max_pixels=100)
    for index, message in enumerate([r"1\.png: image of 12 x 10 pixels", r"2\.png: image cannot"]):
        with pytest.raises(DamagedDataError, match=message):
            found.images.read(index)


def test_a_prepared_split_gives_the_captions_that_people_wrote(tmp_path: Path) -> None:
    annotation = {"raw_caption": ["a red thing"], "longSV_captions": ["a machine's words", "more of them"]}
    samples = [Sample("a", image_bytes("red"), annotation)]
    write_split(tmp_path / "data" / "colours" / "heldout", samples, "dreamlip")
    found = read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)
    assert found.captions == ("a red thing",)
    assert colours(found) == [COLOURS["red"]]


def test_a_sample_that_only_machines_described_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    samples = [Sample("odd-one", image_bytes("red"), {"longSV_captions": ["a machine's words"]})]
    write_split(tmp_path / "data" / "colours" / "heldout", samples, "dreamlip")
    with pytest.raises(
        ValueError, match=r"sample odd-one: .*no sentences in raw_caption; .* that people wrote"
    ):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)


def test_a_split_that_was_not_prepared_is_told_apart_from_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`cosmos prepare` makes it"):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)
    samples = [Sample("a", image_bytes("red"), {"captions": ["red"]})]
    write_split(tmp_path / "data" / "colours" / "train", samples)
    with pytest.raises(ValueError, match=r"colours has no split 'heldout', only train"):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)
    (tmp_path / "data" / "colours" / "heldout").mkdir()
    with pytest.raises(ValueError, match=r"heldout/manifest.json: no such file; .*`cosmos prepare` makes it"):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)


def test_a_damaged_shard_is_refused_because_figures_of_the_rest_would_pass_for_the_whole(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data" / "colours" / "heldout"
    write_split(folder, [Sample(c, image_bytes(c), {"captions": [c]}) for c in COLOURS])
    shard = folder / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(
        ValueError,
        match=rf"^{folder}: shard-00000\.tar: has 2000 bytes.*put them back, or .*`cosmos prepare`",
    ):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)


def test_a_sample_of_which_a_bit_flipped_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "colours" / "heldout"
    write_split(folder, [Sample(c, image_bytes(c), {"captions": [c]}) for c in COLOURS])
    flip_bit_behind(folder / "shard-00000.tar", b'["red"]', 2)
    with pytest.raises(
        DamagedDataError,
        match=rf"^{folder}/shard-00000.tar: sample red: its bytes .*; evaluation leaves nothing out",
    ):
        read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)


def test_a_sample_whose_image_is_damaged_is_named_by_its_shard_and_key(tmp_path: Path) -> None:
    sample = Sample("odd-one", image_bytes("red")[:40], {"captions": ["red"]})
    write_split(tmp_path / "data" / "colours" / "heldout", [sample])
    found = read_split("colours", "heldout", machine(tmp_path), MAX_PIXELS)
    with pytest.raises(DamagedDataError, match=r"^/.*/heldout/shard-00000.tar: sample odd-one: image cannot"):
        found.images.read(0)


def test_an_encoder_that_knows_colours_finds_every_image_and_caption(tmp_path: Path) -> None:
    samples = [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in COLOURS]
    write_split(tmp_path / "data" / "colours" / "heldout", samples)
    card = next(card for card in CARDS if card.name == "heldout")
    opened = card.open(PARAMS, machine(tmp_path))
    metrics = opened.measure(embedder(tmp_path, ColourEncoder())).figures
    assert opened.size == {"num_images": 5, "num_captions": 5}
    assert metrics["image_to_text_R@1"] == metrics["text_to_image_R@1"] == 1
    assert metrics["image_to_text_ties"] == metrics["text_to_image_ties"] == 0
    assert opened.chance["text_to_image_R@1"] == pytest.approx(0.2)
    assert opened.chance.keys() <= metrics.keys()
