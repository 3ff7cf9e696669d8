import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cosmos.config.evaluate_params import EvaluateParams, SegmentationParams, SegmentationSet
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params
from cosmos.data.demo_world.evaluation_sets import write_segmentation
from cosmos.evaluation.card import DatasetCard, OpenDataset
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.embedding_cache import NoCache
from cosmos.evaluation.prompts import SEGMENTATION_CLASSES
from cosmos.evaluation.segmentation.layouts import read_class_file
from cosmos.evaluation.segmentation.measure import SegmentationDataset
from cosmos.evaluation.segmentation.published_sets import SEGMENTATION_SETS
from cosmos.evaluation.segmentation.sets import CARDS, own_card
from tests.evaluation.examples import ColourEncoder, complete

PARAMS = Params(data=DataParams(name="demo"))
SIZE = (37, 23)

PALETTE = [channel for label in range(256) for channel in (label, 255 - label, label // 2)]


def machine(folder: Path) -> Machine:
    return Machine(
        data_root=folder / "data", source_root=folder, datasets_root=folder, cache_root=folder, workers=0
    )


def write_image(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def write_mask(path: Path, mode: str = "P") -> None:
    """Labels 0 to 8, and 255 at the borders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.random.default_rng(1).integers(0, 9, (SIZE[1], SIZE[0]), np.uint8)
    labels[0] = labels[:, 0] = 255
    mask = Image.fromarray(labels)
    if mode == "P":
        mask.putpalette(PALETTE)
    mask.save(path)


def write_voc(folder: Path, lists: str, masks: str) -> None:
    """Three images on the list, of which one is greyscale and one CMYK, and one that is not."""
    modes = {"2007_000033": "RGB", "2007_000042": "L", "2011_000006": "CMYK", "2011_000007": "RGB"}
    for name, mode in modes.items():
        write_image(folder / "JPEGImages" / f"{name}.jpg", mode)
        write_mask(folder / masks / f"{name}.png")
    names = folder / "ImageSets" / lists / "val.txt"
    names.parent.mkdir(parents=True)
    names.write_text("2011_000006\n2007_000033\n2007_000042\n")


def write_coco(folder: Path) -> None:
    for name, mode in {"000000000139": "RGB", "000000000285": "L", "000000000632": "CMYK"}.items():
        write_image(folder / "coco/images/val2017" / f"{name}.jpg", mode)
        for suffix in ("_labelTrainIds", "_instanceTrainIds"):
            write_mask(folder / "coco/annotations/val2017" / f"{name}{suffix}.png", "L")
    (folder / "coco/annotations/captions_val2017.json").write_text("{}")


def write_ade(folder: Path) -> None:
    for number in (1, 2, 3):
        write_image(folder / f"ade20k/images/validation/ADE_val_0000000{number}.jpg")
        write_mask(folder / f"ade20k/annotations/validation/ADE_val_0000000{number}.png", "L")


def write_cityscapes(folder: Path) -> None:
    for name in ("frankfurt/frankfurt_000000_000294", "lindau/lindau_000000_000019"):
        write_image(folder / f"cityscapes/leftImg8bit/val/{name}_leftImg8bit.png")
        for suffix in ("labelTrainIds", "labelIds", "color"):
            write_mask(folder / f"cityscapes/gtFine/val/{name}_gtFine_{suffix}.png", "L")


def write_own(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky, clouds\nmeadow\nsheep, lamb, ram\n")
    for name in ("b", "more/a"):
        write_image(folder / "images" / f"{name}.jpg")
        write_mask(folder / "masks" / f"{name}.png")


def card(name: str) -> DatasetCard:
    return {card.name: card for card in CARDS}[name]


def small_card(name: str, num_images: int) -> DatasetCard:
    """The card of a published dataset, were it published with fewer images."""
    published = next(published for published in SEGMENTATION_SETS if published.name == name)
    return replace(published, layout=replace(published.layout, num_images=num_images)).card()


def open_card(folder: Path, card: DatasetCard) -> OpenDataset:
    return card.open(PARAMS, machine(folder))


def open_own(folder: Path, **settings: Any) -> OpenDataset:
    values = {"classes": "classes.txt", "images": "images", "masks": "masks", **settings}
    return open_card(folder, own_card("mine", SegmentationSet.model_validate(values)))


def held(opened: OpenDataset) -> SegmentationDataset:
    """The dataset that is going to be measured."""
    assert isinstance(opened.measure, partial)
    dataset = opened.measure.args[0]
    assert isinstance(dataset, SegmentationDataset)
    return dataset


def names(opened: OpenDataset, folder: Path) -> list[tuple[str, str]]:
    """Image and mask of each pair, below `folder`, after a look into both."""
    dataset, pairs = held(opened), []
    for index, mask in enumerate(dataset.masks):
        assert dataset.images.read(index).size == Image.open(mask).size == SIZE
        image = folder / dataset.images.key(index).split(":")[0]
        pairs.append((image.relative_to(folder).as_posix(), mask.relative_to(folder).as_posix()))
    return pairs


@pytest.mark.parametrize(
    ("name", "folder", "lists", "masks"),
    [
        ("voc20", "VOC2012", "Segmentation", "SegmentationClass"),
        ("voc21", "VOC2012", "Segmentation", "SegmentationClass"),
        ("context59", "VOC2010", "SegmentationContext", "SegmentationClassContext"),
        ("context60", "VOC2010", "SegmentationContext", "SegmentationClassContext"),
    ],
)
def test_where_there_is_a_list_the_dataset_is_what_the_list_names(
    tmp_path: Path, name: str, folder: str, lists: str, masks: str
) -> None:
    write_voc(tmp_path / folder, lists, masks)
    opened = open_card(tmp_path, card(name))
    expected = ["2011_000006", "2007_000033", "2007_000042"]
    paths = [path.name for path in held(opened).masks]
    assert paths == [f"{stem}.png" for stem in expected]
    assert names(opened, tmp_path / folder)[0] == ("2011_000006.jpg", f"{masks}/2011_000006.png")
    assert opened.size == {"num_images": 3, "num_classes": int(name[-2:])}
    assert opened.sources == (tmp_path / folder / "ImageSets" / lists / "val.txt",)


@pytest.mark.parametrize(
    ("name", "num_images", "first", "num_classes"),
    [
        ("coco-stuff", 3, ("000000000139.jpg", "000000000139_labelTrainIds.png"), 171),
        ("coco-object", 3, ("000000000139.jpg", "000000000139_instanceTrainIds.png"), 81),
        ("ade20k", 3, ("ADE_val_00000001.jpg", "ADE_val_00000001.png"), 150),
        (
            "cityscapes",
            2,
            ("frankfurt_000000_000294_leftImg8bit.png", "frankfurt_000000_000294_gtFine_labelTrainIds.png"),
            19,
        ),
    ],
)
def test_where_there_is_no_list_the_folders_say_what_the_dataset_is(
    tmp_path: Path, name: str, num_images: int, first: tuple[str, str], num_classes: int
) -> None:
    for write in (write_coco, write_ade, write_cityscapes):
        write(tmp_path)
    opened = open_card(tmp_path, small_card(name, num_images))
    pairs = [(Path(image).name, Path(mask).name) for image, mask in names(opened, tmp_path)]
    assert pairs[0] == first
    assert pairs == sorted(pairs)
    assert opened.size == {"num_images": num_images, "num_classes": num_classes}
    assert opened.sources == ()


def test_cards_are_measured_as_published() -> None:
    settings = {
        published.name: (
            published.protocol.short_side,
            published.protocol.logit_scale,
            published.protocol.prob_thd,
            published.protocol.area_thd,
            published.protocol.zero_is_ignored,
            len(SEGMENTATION_CLASSES[published.name]),
            sum(map(len, SEGMENTATION_CLASSES[published.name])),
        )
        for published in SEGMENTATION_SETS
    }
    assert settings == {
        "voc20": (336, 40, 0, None, True, 20, 30),
        "voc21": (336, 65, 0.1, 0.1, False, 21, 56),
        "context59": (336, 40, 0, None, True, 59, 59),
        "context60": (336, 50, 0.1, None, False, 60, 60),
        "coco-object": (336, 50, 0.1, None, False, 81, 113),
        "coco-stuff": (448, 40, 0, None, False, 171, 171),
        "ade20k": (336, 40, 0, None, True, 150, 150),
        "cityscapes": (560, 40, 0, None, False, 19, 19),
    }


def test_a_card_says_where_files_are_expected_and_what_makes_them() -> None:
    assert card("voc21").layout == (
        "VOC2012/JPEGImages/<id>.jpg",
        "VOC2012/SegmentationClass/<id>.png",
        "VOC2012/ImageSets/Segmentation/val.txt",
    )
    assert card("cityscapes").layout == (
        "cityscapes/leftImg8bit/val/<city>/<id>_leftImg8bit.png",
        "cityscapes/gtFine/val/<city>/<id>_gtFine_labelTrainIds.png"
        " (made by cityscapesScripts' createTrainIdLabelImgs.py)",
    )
    assert [card(name).num_images for name in ("voc20", "context60", "ade20k")] == [1449, 5104, 2000]


def test_the_demo_world_brings_its_classes_with_background_first(tmp_path: Path) -> None:
    folder = tmp_path / "data/demo/evaluation/segmentation"
    write_segmentation(folder, side=32, seed=0)
    with pytest.raises(
        ValueError, match=r"not as complete.json has it, or missing; `cosmos prepare` draws it"
    ):
        open_card(tmp_path, card("demo"))
    complete(folder.parent)
    opened = open_card(tmp_path, card("demo"))
    assert opened.size == {"num_images": 100, "num_classes": 11}
    assert held(opened).names[:2] == ("background", "red")
    assert all(word.endswith(" background") for word in held(opened).classes[0])
    assert held(opened).protocol.short_side == 128
    assert opened.sources == (folder / "classes.txt",)


def test_a_set_of_ones_own_has_masks_at_the_paths_of_its_images(tmp_path: Path) -> None:
    write_own(tmp_path)
    opened = open_own(tmp_path, short_side=64, zero_is_ignored=True)
    dataset = held(opened)
    assert [mask.relative_to(tmp_path).as_posix() for mask in dataset.masks] == [
        "masks/b.png",
        "masks/more/a.png",
    ]
    assert dataset.classes == (("sky", "clouds"), ("meadow",), ("sheep", "lamb", "ram"))
    assert (dataset.protocol.short_side, dataset.protocol.zero_is_ignored) == (64, True)
    assert opened.size == {"num_images": 2, "num_classes": 3}


def test_a_mask_belongs_to_its_image_in_either_of_unicodes_forms(tmp_path: Path) -> None:
    write_own(tmp_path)
    write_image(tmp_path / "images" / "\u00e9.jpg")
    write_mask(tmp_path / "masks" / "e\u0301.png", "L")
    assert open_own(tmp_path).size["num_images"] == 3


def test_suffixes_tell_images_from_masks_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("sky\nmeadow\n")
    write_image(tmp_path / "all/1_photo.png")
    write_mask(tmp_path / "all/1_labels.png")
    opened = open_own(
        tmp_path, images="all", masks="all", image_suffix="_photo.png", mask_suffix="_labels.png"
    )
    assert names(opened, tmp_path / "all") == [("1_photo.png", "1_labels.png")]


def test_an_opened_dataset_can_be_measured(tmp_path: Path) -> None:
    write_own(tmp_path)
    for mask in ("b.png", "more/a.png"):
        Image.new("L", SIZE, 2).save(tmp_path / "masks" / mask)
    figures = open_own(tmp_path, short_side=16).measure(
        Embedder(ColourEncoder(), machine(tmp_path), NoCache(), quiet=True)
    )
    assert {"csa_mIoU", "plain_mIoU"} <= figures.figures.keys()


def test_the_fingerprint_differs_once_a_mask_a_class_or_a_setting_does(tmp_path: Path) -> None:
    write_own(tmp_path)
    found = [open_own(tmp_path).fingerprint, open_own(tmp_path, prob_thd=0.1).fingerprint]
    os.utime(tmp_path / "masks/b.png", (0, 0))
    found.append(open_own(tmp_path).fingerprint)
    (tmp_path / "classes.txt").write_text("sky, clouds\nmeadow\nsheep\n")
    found.append(open_own(tmp_path).fingerprint)
    plain = EvaluateParams(segmentation=SegmentationParams(attention=("plain",)))
    description = SegmentationSet(classes="classes.txt", images="images", masks="masks")
    params = Params(data=DataParams(name="demo"), evaluate=plain)
    found.append(own_card("mine", description).open(params, machine(tmp_path)).fingerprint)
    assert len(set(found)) == len(found)
    assert open_own(tmp_path).fingerprint == found[3]


def test_a_half_downloaded_dataset_is_an_error_that_says_how_much_there_is(tmp_path: Path) -> None:
    write_ade(tmp_path)
    with pytest.raises(ValueError, match=r"ade20k/images/validation: 3 of 2,000 images .*`cosmos datasets`"):
        open_card(tmp_path, card("ade20k"))


def test_an_image_without_its_mask_is_named(tmp_path: Path) -> None:
    write_ade(tmp_path)
    (tmp_path / "ade20k/annotations/validation/ADE_val_00000002.png").unlink()
    with pytest.raises(
        ValueError, match=r"annotations/validation: 1 of 3 masks are missing: .*/ADE_val_00000002\.png; `"
    ):
        open_card(tmp_path, small_card("ade20k", 3))


def test_a_mask_without_its_image_is_named(tmp_path: Path) -> None:
    write_own(tmp_path)
    (tmp_path / "images/more/a.jpg").unlink()
    with pytest.raises(
        ValueError,
        match=r"images: 1 of 2 images are missing: .*more/a\.jpg; correct evaluate\.segmentation\.own",
    ):
        open_own(tmp_path)


def test_images_and_masks_may_lie_side_by_side(tmp_path: Path) -> None:
    write_own(tmp_path)
    write_image(tmp_path / "both" / "a.png")
    write_mask(tmp_path / "both" / "a_mask.png")
    for name in ("._a.png", "._a_mask.png"):  # of a Mac
        (tmp_path / "both" / name).touch()
    side_by_side = {"images": "both", "masks": "both", "image_suffix": ".png", "mask_suffix": "_mask.png"}
    dataset = held(open_own(tmp_path, **side_by_side))
    assert [mask.name for mask in dataset.masks] == ["a_mask.png"]
    assert len(dataset.images) == 1


def test_listed_files_that_are_missing_are_counted_and_the_first_named(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2012", "Segmentation", "SegmentationClass")
    listed = [f"2007_{number:06d}" for number in range(8)] + ["2007_000033"]
    (tmp_path / "VOC2012/ImageSets/Segmentation/val.txt").write_text("\n".join(listed))
    with pytest.raises(
        ValueError, match=r"JPEGImages: 8 of 9 images are missing: .*2007_000000\.jpg, .*, \.\.\.; `"
    ) as error:
        open_card(tmp_path, card("voc20"))
    assert "2007_000005" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [("\n", "no names in it"), ("../../x", "not a path below")])
def test_a_list_without_names_or_with_paths_that_lead_outside_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    write_voc(tmp_path / "VOC2012", "Segmentation", "SegmentationClass")
    (tmp_path / "VOC2012/ImageSets/Segmentation/val.txt").write_text(content)
    with pytest.raises(ValueError, match=rf"Segmentation/val\.txt: .*{message}.*; `cosmos datasets`"):
        open_card(tmp_path, card("voc21"))


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("voc20", r"ImageSets/Segmentation/val\.txt: no such file"),
        ("coco-object", r"coco/images/val2017: no such folder"),
        ("cityscapes", r"cityscapes/leftImg8bit/val: no such folder"),
    ],
)
def test_a_dataset_that_is_not_there_is_named_with_the_command_that_helps(
    tmp_path: Path, name: str, missing: str
) -> None:
    with pytest.raises(ValueError, match=rf"{missing}; `cosmos datasets` shows what it expects$"):
        open_card(tmp_path, card(name))


def test_a_demo_world_that_was_not_drawn_is_named_with_the_command_that_draws_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"segmentation/classes\.txt: no such file; `cosmos prepare`"):
        open_card(tmp_path, card("demo"))


def test_a_folder_without_images_is_named_with_the_suffix_that_was_looked_for(tmp_path: Path) -> None:
    write_own(tmp_path)
    with pytest.raises(ValueError, match=r"images: no images \(\*\.jpeg\) in it; correct evaluate\.seg"):
        open_own(tmp_path, image_suffix=".jpeg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"classes\.txt: no classes in it"),
        ("sky\n\nsea\n", r"classes\.txt, line 2: an empty class or synonym"),
        ("sky\nsea,\n", r"classes\.txt, line 2: an empty class or synonym"),
        ("sky, sea\nsheep\nSea\n", r"classes\.txt, line 3: 'sea' is on line 1 already"),
    ],
)
def test_a_file_of_classes_that_cannot_be_meant_is_named_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    write_own(tmp_path)
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        open_own(tmp_path)


def test_classes_may_come_from_another_editor(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("\ufeffsky,clouds \r\nbœuf\r\n".encode())
    assert read_class_file(tmp_path / "classes.txt") == (("sky", "clouds"), ("bœuf",))
