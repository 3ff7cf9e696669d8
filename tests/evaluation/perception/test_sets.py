import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.config.evaluate_params import PerceptionSet
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params
from cosmos.data.demo_world.evaluation_sets import write_perception
from cosmos.data.tokenizer import Tokenizer
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.embedding_cache import CacheFolder, NoCache
from cosmos.evaluation.images import ImageFiles
from cosmos.evaluation.perception.sets import CARDS, SUGARCREPE_KINDS, own_card
from tests.evaluation.examples import COLOURS, ColourEncoder, complete

PARAMS = Params(data=DataParams(name="demo"))


@dataclass(frozen=True)
class WordEncoder(ColourEncoder):
    """Embeds a caption as the sum of the colours that it names."""

    def encode_texts(self, tokens: Tensor) -> Tensor:
        words = Tokenizer(self.context_length, self.vocab_size).encode(list(COLOURS))[:, 1]
        named = (tokens[:, None] == words[:, None]).any(dim=2).float()
        return normalize(named @ (torch.tensor(list(COLOURS.values())) / 255 - 0.5), dim=-1)


def machine(folder: Path) -> Machine:
    return Machine(
        data_root=folder / "data", source_root=folder, datasets_root=folder, cache_root=folder, workers=0
    )


def open_set(folder: Path, name: str) -> OpenDataset:
    return {card.name: card for card in CARDS}[name].open(PARAMS, machine(folder))


def open_own(folder: Path, layout: str, annotations: str, images: str = "images") -> OpenDataset:
    values = {"layout": layout, "annotations": annotations, "images": images}
    return own_card("mine", PerceptionSet.model_validate(values)).open(PARAMS, machine(folder))


def figures(folder: Path, dataset: OpenDataset) -> Figures:
    measured = dataset.measure(Embedder(WordEncoder(), machine(folder), NoCache(), quiet=True))
    means = {name: float(np.nanmean(values)) for name, values in measured.values.items()}
    assert means == pytest.approx(measured.figures)
    return measured.figures


def write_image(path: Path, colour: str, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "PNG" if path.suffix == ".png" else "JPEG"
    Image.new("RGB", (31, 17), COLOURS[colour]).convert(mode).save(path, form)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def item(filename: str, caption: str, negative: str) -> dict[str, str]:
    return {"filename": filename, "caption": caption, "negative_caption": negative}


def write_sugarcrepe(folder: Path) -> None:
    write_image(folder / "coco/images/val2017/000000000139.jpg", "red", "CMYK")
    write_image(folder / "coco/images/val2017/000000000285.jpg", "blue")
    first = item("000000000139.jpg", "A red thing.", "A blue thing.")
    second = item("000000000285.jpg", "A green thing.", "A blue thing.")
    for name in SUGARCREPE_KINDS:
        write(folder / "sugarcrepe" / f"{name}.json", json.dumps({"0": first, "2": second}))
    write(folder / "sugarcrepe" / "swap_obj.json", json.dumps({"0": first}))


def write_questions(folder: Path, *rows: str, header: str = "Question ID,Type,Statement") -> None:
    write(folder / "mmvp-vlm/Questions.csv", "\n".join([header, *rows]) + "\n")


def write_mmvp(folder: Path) -> None:
    images = {
        "Color/1": "red",
        "Color/2": "green",
        "Camera Perspective/3": "red",
        "Camera Perspective/4": "red",
        "Color/5": "blue",
        "Color/6": "purple",
    }
    for name, colour in images.items():
        write_image(folder / "mmvp-vlm/MLLM_VLM Images" / f"{name}.jpg", colour)
    write_questions(
        folder,
        "1,Color,a red thing",
        '2,Color,"a thing, all green"',
        "3,Camera Perspective,red from above",
        "4,Camera Perspective,red from below",
        "5,Color,a yellow thing",
        "6,Color,a purple thing",
    )


def write_examples(folder: Path, *examples: Any) -> None:
    lines = (example if isinstance(example, str) else json.dumps(example) for example in examples)
    write(folder / "winoground/examples.jsonl", "\n".join(lines) + "\n")


def example(number: int, first: str, second: str) -> dict[str, Any]:
    return {
        "id": number,
        "image_0": f"ex_{number}_img_0",
        "image_1": f"ex_{number}_img_1",
        "caption_0": first,
        "caption_1": second,
        "tag": "Adjective-Color",
        "num_main_preds": 1,
    }


def write_winoground(folder: Path) -> None:
    for number in (0, 1):
        write_image(folder / f"winoground/images/ex_{number}_img_0.png", "red")
        write_image(folder / f"winoground/images/ex_{number}_img_1.png", "blue")
    write_examples(folder, example(0, "it is red", "it is blue"), example(1, "it is blue", "it is red"))


def test_sugarcrepe_is_seven_files_whose_ids_may_have_gaps(tmp_path: Path) -> None:
    write_sugarcrepe(tmp_path)
    dataset = open_set(tmp_path, "sugarcrepe")
    assert dataset.size == {"num_images": 2, "num_captions": 13}
    assert [source.name for source in dataset.sources] == [f"{name}.json" for name in SUGARCREPE_KINDS]
    half = dict.fromkeys(SUGARCREPE_KINDS, 0.5) | {"swap_obj": 1.0}
    assert figures(tmp_path, dataset) == pytest.approx(half | {"mean": 4 / 7})
    assert dataset.chance == dict.fromkeys([*SUGARCREPE_KINDS, "mean"], 0.5)


def test_an_image_of_several_captions_is_embedded_once_and_in_the_collection_that_retrieval_uses(
    tmp_path: Path,
) -> None:
    write_sugarcrepe(tmp_path)
    cache, encoder = CacheFolder(tmp_path / "embeddings"), WordEncoder()
    open_set(tmp_path, "sugarcrepe").measure(Embedder(encoder, machine(tmp_path), cache, quiet=True))
    assert sum(map(len, encoder.image_batches)) == 2
    folder = tmp_path / "coco/images/val2017"
    coco = ImageFiles(folder, (folder / "000000000139.jpg",), 1000)
    assert coco.key(0) in cache.read(coco.collection)


def test_mmvp_pairs_statements_of_a_type(tmp_path: Path) -> None:
    write_mmvp(tmp_path)
    dataset = open_set(tmp_path, "mmvp-vlm")
    assert dataset.size == {"num_images": 6, "num_pairs": 3}
    assert dataset.sources == (tmp_path / "mmvp-vlm/Questions.csv",)
    # Of the colours one pair is right; images that are alike cannot be told apart.
    assert figures(tmp_path, dataset) == {"Color": 0.5, "Camera Perspective": 0.0, "mean": 0.25}
    assert dataset.chance == {"Color": 0.25, "Camera Perspective": 0.25, "mean": 0.25}


def test_mmvp_pairs_are_those_of_the_ids_in_whatever_order_rows_and_columns_come(tmp_path: Path) -> None:
    write_mmvp(tmp_path)
    rows = ("Color,2,green", "Camera Perspective,3,red", "Color,1,red", "Camera Perspective,4,red")
    write_questions(tmp_path, *rows, header="type,id,statement")
    assert figures(tmp_path, open_set(tmp_path, "mmvp-vlm"))["Color"] == 1.0


def test_winoground_has_text_image_and_group_scores(tmp_path: Path) -> None:
    write_winoground(tmp_path)
    dataset = open_set(tmp_path, "winoground")
    assert dataset.size == {"num_images": 4, "num_pairs": 2}
    assert dataset.sources == (tmp_path / "winoground/examples.jsonl",)
    assert figures(tmp_path, dataset) == {"text": 0.5, "image": 0.5, "group": 0.5}
    assert dataset.chance == {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}


def test_the_demo_world_is_in_sugarcrepes_form(tmp_path: Path) -> None:
    folder = tmp_path / "data/demo/evaluation"
    write_perception(folder / "perception", side=32, seed=0)
    complete(folder)
    dataset = open_set(tmp_path, "demo")
    assert dataset.size == {"num_images": 600, "num_captions": 600}
    assert list(dataset.chance) == ["replace_att", "replace_obj", "replace_rel", "mean"]


def test_a_folder_of_such_files_of_ones_own_is_measured_under_their_names(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a/1.png", "red")
    write(tmp_path / "captions/hues.json", json.dumps({"x": item("a/1.png", "red", "blue")}))
    write(tmp_path / "captions/._hues.json", "of a Mac")
    dataset = open_own(tmp_path, "sugarcrepe", "captions")
    assert figures(tmp_path, dataset) == {"hues": 1.0, "mean": 1.0}


def test_sets_of_ones_own_may_be_in_mmvps_or_winogrounds_form(tmp_path: Path) -> None:
    write_mmvp(tmp_path)
    write_winoground(tmp_path)
    mmvp = open_own(tmp_path, "mmvp", "mmvp-vlm/Questions.csv", "mmvp-vlm/MLLM_VLM Images")
    assert mmvp.fingerprint == open_set(tmp_path, "mmvp-vlm").fingerprint
    example_with_suffixes = example(0, "red", "blue") | {"image_0": "ex_0_img_0.png"}
    write_examples(tmp_path, example_with_suffixes)
    winoground = open_own(tmp_path, "winoground", "winoground/examples.jsonl", "winoground/images")
    assert winoground.size == {"num_images": 2, "num_pairs": 1}


@pytest.mark.parametrize("caption", ["A red thing.", "A blue thing."])
def test_the_fingerprint_differs_once_a_caption_or_an_image_does(tmp_path: Path, caption: str) -> None:
    write_sugarcrepe(tmp_path)
    before = open_set(tmp_path, "sugarcrepe").fingerprint
    assert open_set(tmp_path, "sugarcrepe").fingerprint == before
    write_image(tmp_path / "coco/images/val2017/000000000285.jpg", "green")
    other_image = open_set(tmp_path, "sugarcrepe").fingerprint
    content = {"0": item("000000000139.jpg", caption, "Nothing.")}
    write(tmp_path / "sugarcrepe/swap_obj.json", json.dumps(content))
    assert len({before, other_image, open_set(tmp_path, "sugarcrepe").fingerprint}) == 3


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("sugarcrepe", "sugarcrepe/add_att.json"),
        ("mmvp-vlm", "mmvp-vlm/Questions.csv"),
        ("winoground", "winoground/examples.jsonl"),
    ],
)
def test_a_dataset_that_is_not_there_is_named_with_the_command_that_helps(
    tmp_path: Path, name: str, missing: str
) -> None:
    with pytest.raises(ValueError, match=rf"{missing}: no such file; `cosmos datasets` shows what"):
        open_set(tmp_path, name)


def test_a_demo_world_that_was_not_drawn_is_named_with_the_command_that_draws_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"evaluation/perception: no such folder.*`cosmos prepare`"):
        open_set(tmp_path, "demo")


def test_missing_images_are_counted_and_named(tmp_path: Path) -> None:
    write_sugarcrepe(tmp_path)
    (tmp_path / "coco/images/val2017/000000000285.jpg").unlink()
    with pytest.raises(ValueError, match=r"add_att\.json: 1 of 2 images are missing: .*285\.jpg; `cosmos"):
        open_set(tmp_path, "sugarcrepe")


def test_a_missing_folder_of_images_is_named(tmp_path: Path) -> None:
    write(tmp_path / "captions/a.json", json.dumps({"1": item("1.png", "red", "blue")}))
    with pytest.raises(ValueError, match=r"images: no such folder; correct evaluate\.perception\.own\.mine"):
        open_own(tmp_path, "sugarcrepe", "captions")


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png"])
def test_annotations_cannot_name_images_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "secret.png", "red")
    write_image(tmp_path / "images/1.png", "red")
    write(tmp_path / "captions/a.json", json.dumps({"1": item(name, "red", "blue")}))
    with pytest.raises(ValueError, match=r"a\.json: .*secret\.png.*not a path below"):
        open_own(tmp_path, "sugarcrepe", "captions")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"a\.json: not JSON .*downloaded whole\?"),
        ("[]", r"a\.json: expected an object of entries with filename"),
        ("{}", r"a\.json: expected an object of entries with filename"),
        ('{"7": 3}', r"a\.json: entry '7': filename is None"),
        ('{"7": {"filename": "1.png", "caption": "red"}}', r"entry '7': negative_caption is None"),
        (
            '{"7": {"filename": "1.png", "caption": " ", "negative_caption": "a"}}',
            r"entry '7': caption is ' '",
        ),
    ],
)
def test_a_sugarcrepe_file_in_another_form_is_named_with_its_entry(
    tmp_path: Path, content: str, message: str
) -> None:
    write(tmp_path / "captions/a.json", content)
    with pytest.raises(ValueError, match=message):
        open_own(tmp_path, "sugarcrepe", "captions")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), r"Questions\.csv: no statements in it"),
        (("1,Color,red",), r"line 2: id 1 of type 'Color' has no partner 2 of this type"),
        (("1,Color,red", "2,Text,blue"), r"line 2: id 1 of type 'Color' has no partner 2 of this type"),
        (("2,Color,red", "3,Color,blue"), r"line 2: id 2 of type 'Color' has no partner 1 of this type"),
        (("1,Color,red", "1,Color,blue", "2,Color,red"), r"line 2: id 1 of type 'Color' is there twice"),
        (("1,Color,red, or so", "2,Color,blue"), r"line 2: expected id, type and statement.*double quotes"),
        (("1,Color,", "2,Color,blue"), r"line 2: expected id, type and statement"),
        (("one,Color,red", "2,Color,blue"), r"line 2: id is 'one'; expected a number"),
        (("1,../Color,red", "2,../Color,blue"), r"Questions\.csv: '\.\./Color/1\.jpg': not a path below"),
    ],
)
def test_questions_in_another_form_are_named_with_their_line(
    tmp_path: Path, rows: tuple[str, ...], message: str
) -> None:
    write_mmvp(tmp_path)
    write_questions(tmp_path, *rows)
    with pytest.raises(ValueError, match=message):
        open_set(tmp_path, "mmvp-vlm")


def test_questions_with_other_columns_are_refused(tmp_path: Path) -> None:
    write_questions(tmp_path, "1,Color,red", header="id,kind,statement")
    with pytest.raises(
        ValueError, match=r"line 1: expected the columns id, type, statement, found \['id', 'k"
    ):
        open_set(tmp_path, "mmvp-vlm")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"examples\.jsonl: no examples in it"),
        ('{"image_0": "a"', r"examples\.jsonl, line 1: not JSON .*downloaded whole\?"),
        ("[1]", r"examples\.jsonl, line 1: image_0 is None"),
        (example(0, "red", ""), r"line 1: caption_1 is ''"),
        (example(7, "red", "blue"), r"examples\.jsonl: 2 of 2 images are missing: .*ex_7_img_0\.png, "),
    ],
)
def test_examples_in_another_form_are_named_with_their_line(tmp_path: Path, line: Any, message: str) -> None:
    write_winoground(tmp_path)
    write_examples(tmp_path, line)
    with pytest.raises(ValueError, match=message):
        open_set(tmp_path, "winoground")
