import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import DataParams
from cosmos.data.sources.inputs import OpenedSource
from cosmos.data.sources.openers import open_source
from cosmos.errors import DamagedDataError
from tests.data.examples import flickr8k, image_bytes, machine, write_images


def opened(folder: Path, params: DataParams) -> OpenedSource:
    return open_source(params, machine(folder))


def captions_by_key(source: OpenedSource, split: str = "train") -> dict[str, Any]:
    samples = map(pickle.loads(pickle.dumps(source.read)), source.splits[split])
    return {sample.key: sample.annotation["captions"] for sample in samples}


def test_a_captions_file_gives_its_images_and_captions(tmp_path: Path) -> None:
    source = opened(tmp_path, flickr8k(tmp_path, number=3))
    assert captions_by_key(source) == {str(i): [f"A thing , number {i}.jpg", "A thing"] for i in range(3)}
    sample = source.read(source.splits["train"][0])
    assert sample.image == image_bytes(int(sample.key))


def test_coco_and_flickr30k_are_read_by_their_names(tmp_path: Path) -> None:
    write_images(tmp_path / "source" / "images", ["a.jpg"])
    files = {
        "coco": {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "caption": "one"}],
        },
        "flickr30k": [{"image": "a.jpg", "caption": ["one"]}],
    }
    for name, content in files.items():
        (tmp_path / "source" / name).write_text(json.dumps(content))
        params = DataParams.model_validate({"source": name, "annotations": name, "images": "images"})
        assert captions_by_key(opened(tmp_path, params)) == {"a": ["one"]}


def test_the_held_out_split_is_drawn_by_seed_and_shares_nothing_with_training(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=20, num_heldout=5)
    again, other = opened(tmp_path, params), opened(tmp_path, params.model_copy(update={"seed": 1}))
    source = opened(tmp_path, params)
    keys = {split: list(captions_by_key(source, split)) for split in source.splits}
    assert {split: len(names) for split, names in keys.items()} == {"train": 15, "heldout": 5}
    assert not set(keys["train"]) & set(keys["heldout"])
    assert keys["train"] != sorted(keys["train"], key=int)
    assert keys["train"] == list(captions_by_key(again))
    assert keys["train"] != list(captions_by_key(other))


def test_too_many_held_out_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.num_heldout: 6 of 6 samples leave none to train on"):
        opened(tmp_path, flickr8k(tmp_path, number=6, num_heldout=6))


def test_missing_images_and_images_without_captions_are_damaged_samples(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=1)
    with (tmp_path / "source" / "captions.csv").open("a") as file:
        file.write("gone.jpg,a thing\nsilent.jpg, \n")
    source = opened(tmp_path, params)
    problems = []
    for item in source.splits["train"]:
        try:
            source.read(item)
        except DamagedDataError as error:
            problems.append(str(error))
    assert len(problems) == 2
    assert any("gone.jpg: No such file" in problem for problem in problems)
    assert any("silent.jpg: no captions" in problem for problem in problems)


def test_a_path_that_leaves_the_folder_is_skipped(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=2)
    (tmp_path / "source" / "secret.jpg").write_bytes(image_bytes())
    with (tmp_path / "source" / "captions.csv").open("a") as file:
        file.write("../secret.jpg,a thing\n")
    source = opened(tmp_path, params)
    assert [entry.input for entry in source.skipped] == ["../secret.jpg"]
    assert len(source.splits["train"]) == 2


def test_a_captions_file_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no images for captions-csv; are data.annotations"):
        opened(tmp_path, flickr8k(tmp_path, number=0))


def test_a_missing_folder_of_images_is_named(tmp_path: Path) -> None:
    params = flickr8k(tmp_path).model_copy(update={"images": "nowhere"})
    with pytest.raises(ValueError, match=r"nowhere: no such folder; correct data.images"):
        opened(tmp_path, params)


def test_an_empty_folder_of_images_is_named(tmp_path: Path) -> None:
    params = flickr8k(tmp_path).model_copy(update={"images": "empty"})
    (tmp_path / "source" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: an empty folder; correct data.images"):
        opened(tmp_path, params)


FOLDER = DataParams(source="folder", images="images")


def test_a_folder_has_captions_beside_its_images(tmp_path: Path) -> None:
    images = tmp_path / "source" / "images"
    write_images(images, ["a.jpg", "lonely.png"])
    write_images(images / "deep", ["a.JPG", "b.webp"])
    write_images(images, ["._a.jpg"])
    write_images(images / ".thumbnails", ["a.jpg"])
    (images / "a.txt").write_text("one\n\ntwo\n")
    (images / "deep" / "a.json").write_text('["three"]')
    (images / "deep" / "b.json").write_text('{"caption": "four", "width": 7}')
    source = opened(tmp_path, FOLDER)
    assert captions_by_key(source) == {"a": ["one", "two"], "deep_a": ["three"], "deep_b": ["four"]}
    assert [entry.input for entry in source.skipped] == [str(images / "lonely.png")]


def test_a_folder_of_links_is_read_and_circles_end(tmp_path: Path) -> None:
    images, disk = tmp_path / "source" / "images", tmp_path / "disk"
    for folder in (images, disk):
        write_images(folder, ["a.jpg"])
        (folder / "a.txt").write_text(folder.name)
    (images / "more").symlink_to(disk)
    (disk / "back").symlink_to(images)
    assert captions_by_key(opened(tmp_path, FOLDER)) == {"a": ["images"], "more_a": ["disk"]}


def test_what_a_folder_has_and_cannot_be_used_is_listed_with_reasons(tmp_path: Path) -> None:
    images = tmp_path / "source" / "images"
    write_images(images, ["a.jpg", "lonely.jpg", "phone.HEIC", "new.avif"])
    for name in ("a.txt", "phone.txt", "words.txt", "words.json", "README.txt", "._b.txt"):
        (images / name).write_text("a dog")
    (images / "away").symlink_to(tmp_path / "nothing")
    (images / "notes.pdf").touch()
    source = opened(tmp_path, FOLDER)
    assert captions_by_key(source) == {"a": ["a dog"]}
    assert {Path(entry.input).name: entry.reason.partition(";")[0] for entry in source.skipped} == {
        "lonely.jpg": "no .json or .txt of the same name beside it",
        "phone.HEIC": "images in the format .heic are not decoded",
        "new.avif": "images in the format .avif are not decoded",
        "away": "a link to what is not there",
        "words.json": "no image of the same name beside it",
    }


@pytest.mark.parametrize("name", ["a.TXT", "a.Json", "a.json"])
def test_captions_may_have_a_suffix_in_capitals_and_line_ends_of_windows(tmp_path: Path, name: str) -> None:
    images = tmp_path / "source" / "images"
    write_images(images, ["a.JPEG", "b.jfif"])
    text = "\ufeffone\r\ntwo\r\n" if name == "a.TXT" else '\ufeff["one",\r\n"two"]'
    (images / name).write_bytes(text.encode())
    (images / "b.txt").write_text("three")
    assert captions_by_key(opened(tmp_path, FOLDER)) == {"a": ["one", "two"], "b": ["three"]}


def test_an_image_and_its_captions_may_be_named_in_two_of_unicodes_forms(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    images = tmp_path / "source" / "images"
    write_images(images, [f"{decomposed}.jpg", f"{composed}{composed}.jpg", f"{decomposed * 2}.jpg"])
    (images / f"{composed}.txt").write_text("one")
    for twice in (composed * 2, decomposed * 2):
        (images / f"{twice}.txt").write_text(ascii(twice))
    captions = {caption for [caption] in captions_by_key(opened(tmp_path, FOLDER)).values()}
    assert captions == {"one", ascii(composed * 2), ascii(decomposed * 2)}
    source = opened(tmp_path, FOLDER)
    for item in source.splits["train"]:
        caption = source.read(item).annotation["captions"][0]
        assert caption in ("one", ascii(Path(item.name).stem))


def test_images_that_a_captions_file_leaves_out_are_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = flickr8k(tmp_path, number=2)
    write_images(tmp_path / "source" / "images", ["extra.png", "._0.jpg"])
    with caplog.at_level("INFO"):
        opened(tmp_path, params)
    assert "images: 1 images beside those of" in caplog.text


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ({"raw_caption": "dog", "longSV_captions": "A dog. It runs."}, "dreamlip"),
        ({"original_caption": "dog", "vlm_caption": "A dog."}, "pixelprose"),
    ],
)
def test_the_schema_of_a_folder_is_that_of_its_first_captions(
    tmp_path: Path, annotation: dict[str, str], schema: str
) -> None:
    images = tmp_path / "source" / "images"
    write_images(images, ["a.jpg", "b.jpg", "c.jpg"])
    (images / "a.json").write_text("{")
    (images / "b.json").write_text(json.dumps(annotation))
    (images / "c.txt").write_text("a dog")
    source = opened(tmp_path, FOLDER)
    assert source.schema == schema
    by_name = {Path(item.name).stem: item for item in source.splits["train"]}
    assert source.read(by_name["b"]).key == "b"
    with pytest.raises(DamagedDataError, match=r"a.json: broken JSON"):
        source.read(by_name["a"])
    with pytest.raises(DamagedDataError, match=rf"c.jpg: captions are in the form 'captions'.*'{schema}'"):
        source.read(by_name["c"])


def test_a_folder_without_captions_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "source" / "images", ["a.jpg"])
    with pytest.raises(ValueError, match=r"images: found no image with captions .*is data.source right"):
        opened(tmp_path, FOLDER)


def test_captions_that_are_too_large_are_damaged(tmp_path: Path) -> None:
    images = tmp_path / "source" / "images"
    write_images(images, ["a.jpg", "b.jpg"])
    (images / "a.txt").write_text("a dog")
    (images / "b.txt").write_text("a dog\n" * 200_000)
    source = opened(tmp_path, FOLDER)
    by_name = {Path(item.name).stem: item for item in source.splits["train"]}
    with pytest.raises(DamagedDataError, match=r"b.txt: more than the 1048576 bytes"):
        source.read(by_name["b"])


def test_the_demo_world_is_drawn_in_the_sizes_of_its_parameters(tmp_path: Path) -> None:
    params = DataParams.model_validate({"demo": {"num_train": 3, "num_heldout": 2}})
    source = opened(tmp_path, params)
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 3, "heldout": 2}
    samples = [source.read(item) for items in source.splits.values() for item in items]
    assert len({sample.key for sample in samples}) == len({sample.image for sample in samples}) == 5
    assert samples[0].annotation["raw_caption"]
