"""An untrained model of a few numbers, on pictures of one colour."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cosmos.config.params import Params
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.model.checkpoints import ModelConfig
from cosmos.report.galleries.content import Galleries, Missing, SegmentationAnswers
from cosmos.report.gallery_sections import gallery_sections
from cosmos.run.directory import RunDir
from cosmos.run.statistics.answers import ClassAnswers, RetrievalAnswers
from cosmos.stages import galleries
from cosmos.stages.evaluate import evaluate
from cosmos.stages.galleries import measure_galleries
from cosmos.stages.gallery_sights import choose_words, sight_inputs
from tests.evaluation.examples import COLOURS, ColourEncoder, ImagesInMemory, image_bytes, write_images
from tests.model.examples import write_checkpoint
from tests.model.planted import PLANTED, naming_model
from tests.report.test_gallery_sections import text_of
from tests.stages.colours import here, make_place, params, write_flags


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def measured(folder: Path, *suites: str, **evaluate_params: Any) -> Galleries:
    """The galleries of the run of `place`, evaluated by these suites."""
    described, run = params(**evaluate_params), RunDir(folder / "runs" / "tiny")
    if suites:
        evaluate(suites, described, here(folder), run.path, "", quiet=True)
    return measure_galleries(run, described, here(folder))


def reasons(shown: Galleries) -> list[str]:
    parts = (shown.sights, *(dataset.answers for dataset in shown.datasets), *shown.missing)
    return [part.reason for part in parts if isinstance(part, Missing)]


def test_each_suite_that_was_measured_has_the_answers_that_its_figures_are_made_of(place: Path) -> None:
    suites = ("retrieval", "classification", "segmentation")
    shown = measured(place, *suites, segmentation=write_flags(place))
    retrieval, classification, segmentation = shown.datasets
    assert [dataset.suite for dataset in shown.datasets] == list(suites)
    assert {dataset.model for dataset in shown.datasets} == {"teacher"}
    assert isinstance(retrieval.answers, RetrievalAnswers)
    recall = (retrieval.answers.of_images.ranks == 0).mean()
    assert recall == pytest.approx(retrieval.figures["teacher"]["image_to_text_R@1"])
    assert isinstance(classification.answers, ClassAnswers)
    right = (classification.answers.predicted == classification.answers.labels).mean()
    assert right == pytest.approx(classification.figures["teacher"]["top1"])
    assert isinstance(segmentation.answers, SegmentationAnswers)
    assert len(segmentation.answers.samples) == len(COLOURS)
    assert len(segmentation.answers.of_classes) == galleries.NUM_WORST_CLASSES
    assert reasons(shown) == [
        "perception: the run was not measured; `cosmos evaluate perception --run tiny` measures it."
    ]
    assert gallery_sections(shown, shown)


def test_the_page_of_a_teacher_that_confuses_two_colours_says_so_first(place: Path) -> None:
    channels = {"red": 0, "green": 1, "blue": 2}
    student, teacher = naming_model(channels), naming_model({**channels, "red": 1, "green": 0})
    write_checkpoint(RunDir(place / "runs" / "tiny").checkpoint(3), student, teacher, PLANTED, epoch=1)
    shutil.rmtree(place / "classes")
    write_images(place / "classes", {f"{c}/{n}.png": c for c in channels for n in range(3 - channels[c])})
    shown = measured(place, "classification")
    text = text_of(str(gallery_sections(shown, None)[1].html))
    assert "red green 3 100.0% green red 2 100.0% confusion matrix" in text
    assert "green 0.0% 100.0% red 0.0% 100.0% blue 100.0% 100.0%" in text


def test_embeddings_that_evaluations_kept_are_not_computed_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(galleries, "MAX_NEW_EMBEDDINGS", 0)
    assert isinstance(measured(place, "classification").datasets[0].answers, ClassAnswers)
    shutil.rmtree(place / "runs" / "tiny" / "embeddings")
    assert "embeddings of 5 class names are not kept" in reasons(measured(place))[0]


def test_a_run_without_evaluations_shows_what_it_sees_and_says_what_is_missing(place: Path) -> None:
    shown = measured(place)
    assert not isinstance(shown.sights, Missing)
    assert len(shown.sights) == len(COLOURS)
    assert shown.sights[0].by_model.keys() == {"student", "teacher"}
    assert len(reasons(shown)) == 4
    assert "retrieval: the run was not measured" in reasons(shown)[0]


def test_a_run_without_a_checkpoint_says_so(place: Path) -> None:
    evaluate(("classification",), params(), here(place), place / "runs" / "tiny", "", quiet=True)
    shutil.rmtree(place / "runs" / "tiny" / "checkpoints")
    shown = measured(place)
    assert isinstance(shown.sights, Missing)
    assert "no checkpoint" in shown.sights.reason
    assert all("no checkpoint" in reason for reason in reasons(shown)[:2])


def test_a_run_without_cross_attention_has_no_maps(place: Path) -> None:
    described = Params.model_validate(params().model_dump() | {"loss": {"distillation": "none"}})
    config = ModelConfig.of(described)
    checkpoint = RunDir(place / "runs" / "tiny").checkpoint(3)
    write_checkpoint(checkpoint, config.build(), config.build(), config, epoch=1)
    shown = measured(place)
    assert not isinstance(shown.sights, Missing)
    for sight in shown.sights[0].by_model.values():
        assert isinstance(sight.attention, Missing)
        assert "trained no cross-attention" in sight.attention.reason
        assert not isinstance(sight.similarities, Missing)


def test_data_that_is_gone_or_changed_is_told(place: Path) -> None:
    measured(place, "classification")
    write_images(place / "classes", {"red/2.png": "blue"})
    assert "other than what was measured" in reasons(measured(place))[0]
    shutil.rmtree(place / "classes")
    assert "colours cannot be shown" in reasons(measured(place))[0]
    shutil.rmtree(place / "data")
    shown = measured(place)
    assert isinstance(shown.sights, Missing)
    assert "No photographs with captions" in shown.sights.reason


def test_results_of_another_checkpoint_are_not_mixed_with_the_newest(place: Path) -> None:
    measured(place, "classification")
    torch.manual_seed(1)
    config = ModelConfig.of(params())
    newer = RunDir(place / "runs" / "tiny").checkpoint(4)
    write_checkpoint(newer, config.build(), config.build(), config, epoch=2)
    assert "another checkpoint" in reasons(measured(place))[0]


def test_results_that_cannot_be_read_are_a_reason(place: Path) -> None:
    measured(place, "classification")
    file = RunDir(place / "runs" / "tiny").result_file("classification")
    file.write_text(json.dumps([]))
    assert any(str(file) in reason for reason in reasons(measured(place)))


def test_a_picture_that_cannot_be_read_leaves_its_reason_in_the_page(place: Path) -> None:
    shown = measured(place, "classification")
    for image in (place / "classes").rglob("*.png"):
        image.write_bytes(b"cut off")
    html = str(gallery_sections(shown, None)[1].html)
    assert "1.png: image cannot be decoded" in html


def test_the_student_is_shown_where_it_alone_was_measured(place: Path) -> None:
    measured(place, "classification", models=["student"])
    (dataset,) = measured(place).datasets
    assert dataset.model == "student"
    assert isinstance(dataset.answers, ClassAnswers)
    assert "No model was measured" in reasons(measured(place, models=["teacher"]))[0]


def test_a_device_that_is_not_there_is_a_reason(place: Path) -> None:
    run = RunDir(place / "runs" / "tiny")
    shown = measure_galleries(run, params(), here(place).model_copy(update={"device": "cuda:7"}))
    assert isinstance(shown.sights, Missing)
    assert "no GPU 7 here" in shown.sights.reason


def test_an_image_without_captions_is_left_out(tmp_path: Path) -> None:
    images = ImagesInMemory([image_bytes(colour) for colour in ("red", "blue")])
    inputs = sight_inputs(RetrievalDataset(images, ("blue",), (1,)), ColourEncoder())
    assert [item.caption for item in inputs] == ["blue"]


def test_maps_are_drawn_of_words_with_a_meaning_of_their_own() -> None:
    assert choose_words(["a", "photo", "of", "the", "red", "star,", "red"]) == ("red", "star")
    assert len(choose_words([f"word{number}" for number in range(20)])) == 6


def test_photographs_are_as_models_see_them(place: Path) -> None:
    shown = measured(place)
    assert not isinstance(shown.sights, Missing)
    for example, (colour, pixel) in zip(shown.sights, COLOURS.items(), strict=True):
        assert example.caption == colour
        assert example.chosen == (colour,)
        assert isinstance(example.image, Image.Image)
        assert example.image.getpixel((0, 0)) == pixel


def test_of_the_worst_classes_those_are_shown_that_have_an_image(place: Path) -> None:
    described = write_flags(place)
    (place / "masks" / "red.png").write_bytes((place / "masks" / "blue.png").read_bytes())
    (dataset,) = measured(place, "segmentation", segmentation=described).datasets
    assert isinstance(dataset.answers, SegmentationAnswers)
    assert "red" not in dataset.answers.of_classes
    assert len(dataset.answers.of_classes) == len(COLOURS) - 1
    shares = [dataset.figures["teacher"][f"csa_IoU/{name}"] for name in dataset.answers.of_classes]
    assert shares == sorted(shares)
