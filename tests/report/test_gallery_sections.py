import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cosmos.report.galleries.content import (
    AttentionOfModel,
    DatasetGallery,
    Galleries,
    Missing,
    ModelSight,
    SegmentationAnswers,
    SightExample,
)
from cosmos.report.gallery_sections import gallery_sections
from cosmos.report.segmentations import SegmentationSample
from cosmos.run.statistics.answers import PairAnswers
from tests.hostile_texts import HOSTILE_TEXTS
from tests.report.galleries.examples import (
    NO_SIGHTS,
    GreyPictures,
    accuracies,
    at_ranks,
    classified,
    galleries,
    gallery,
    preferred,
    retrieval,
)

COLOURS = ("red", "green", "blue")
CHANGED = ("sees", "fails", "changed")


def text_of(html: str) -> str:
    """The text of a page, with single spaces."""
    parts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = parts.append  # type: ignore[assignment,method-assign]
    parser.feed(html)
    return " ".join(" ".join(parts).split())


def sections(shown: Galleries, against: Galleries | None = None) -> dict[str, str]:
    return {section.id: str(section.html) for section in gallery_sections(shown, against)}


def confusing(labels: list[int], predicted: list[int]) -> DatasetGallery:
    answers = classified(labels, predicted, COLOURS)
    return gallery(answers, "classification", {"teacher": accuracies(answers)})


def sight(*models: str, caption: str = "a red star", word: str = "red") -> SightExample:
    maps = np.arange(4.0).reshape(2, 2)
    attention = AttentionOfModel(maps, (maps,), (0.1, 0.3, 0.1), 0.5)
    seen = {model: ModelSight(attention, (maps,)) for model in models}
    return SightExample(Image.new("RGB", (8, 8)), caption, ("a", word, "star"), (word,), seen)


def segmented(*names: str) -> SegmentationAnswers:
    labels = np.array([[0, 1]], np.uint8)
    sample = SegmentationSample(Image.new("RGB", (2, 1)), labels, labels[:, ::-1].copy(), names)
    return SegmentationAnswers(names, (sample,), {names[1]: sample})


def everything(name: str, text: str = "plain") -> Galleries:
    """Galleries with all parts; `text` stands wherever a stranger may write."""
    answers = classified([0, 1], [1, 1], (text, "green", "blue"))
    datasets = (
        gallery(retrieval(at_ranks(2, 0, 1), [text, "b", "c"])),
        gallery(answers, "classification", {"teacher": accuracies(answers)}),
        gallery(
            segmented("sky", text), "segmentation", {"teacher": {"csa_IoU/sky": 0.5, f"csa_IoU/{text}": 0.1}}
        ),
        gallery(preferred([-0.1, 0.2], [text, "b"], [(text, "false"), ("c", "d")]), "perception"),
    )
    sights = (sight("student", "teacher", caption=text, word=text),)
    return Galleries(name, sights, datasets, (Missing(text),))


def test_the_first_confusion_is_the_colours_that_the_teacher_takes_for_each_other() -> None:
    shown = text_of(sections(galleries(confusing([0] * 5 + [1] * 5, [1] * 5 + [1] * 4 + [2])))["fails"])
    assert "class taken for images of the class clearest red green 5 100.0% green blue 1 20.0%" in shown
    assert "No image of it: blue." in shown


def test_a_run_without_evaluations_says_so() -> None:
    reason = "retrieval: the run was not measured"
    shown = sections(Galleries("mine", NO_SIGHTS, (), (Missing(reason),)))
    assert reason in text_of(shown["fails"])
    assert "nobody looked" in text_of(shown["sees"])


def test_a_dataset_that_is_gone_has_its_reason_and_its_bars() -> None:
    missing = gallery(Missing("gone"), "classification", {"teacher": {"accuracy/red": 0.25}})
    shown = text_of(sections(galleries(missing))["fails"])
    assert "Classification on demo, teacher gone" in shown
    assert "red 25.0%" in shown


def test_models_without_cross_attention_have_a_reason_in_place_of_maps() -> None:
    example = sight("teacher")
    by_model = {"teacher": ModelSight(Missing("no pools"), Missing("no words"))}
    shown = sections(Galleries("mine", (SightExample(example.image, "red", ("red",), (), by_model),), (), ()))
    assert "no pools no words" in text_of(shown["sees"])


def test_student_and_teacher_are_shown_below_each_other() -> None:
    shown = sections(Galleries("mine", (sight("student", "teacher"),) * 2, (), ()))["sees"]
    assert shown.count('class="step"') == 2
    assert text_of(shown).index("student") < text_of(shown).index("teacher")
    assert 'title="30.0%">red<' in shown


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_texts_of_strangers_are_shown_and_never_read_as_markup(text: str) -> None:
    before, now = everything("<b>before</b>", "plain"), everything("mine", text)
    for html in sections(now, before).values():
        assert not re.search(r"<script|<img src=x|onerror=\"|<b>", html)
        assert not {"\0", "\x1b", "\u202e", "\x9b"} & set(html)
        html.encode("utf-8")


def test_a_baseline_is_shown_in_the_same_photographs() -> None:
    example, other = sight("student", "teacher"), sight("teacher", caption="another")
    now, before = (Galleries(name, (example,), (), ()) for name in ("now", "before"))
    assert "teacher of before" in text_of(sections(now, before)["sees"])
    unlike = Galleries("before", (other,), (), ())
    assert "teacher of before" not in text_of(sections(now, unlike)["sees"])


def test_both_images_of_a_failed_pair_are_shown_with_all_scores() -> None:
    scores = np.array([[[0.4, 0.5], [0.3, 0.2]]])
    pair = PairAnswers(
        GreyPictures(2), np.array([[0, 1]]), (("a on b", "b on a"),), ("",), scores, np.array([-0.1])
    )
    html = sections(galleries(gallery(pair, "perception")))["fails"]
    assert html.count("<img") == 2
    text = text_of(html)
    assert "pair : wrong by 0.100" in text
    assert "of image 1 0.400 0.300 a on b of image 2 0.500 0.200 b on a" in text


def test_a_pair_of_runs_has_a_section_of_what_changed() -> None:
    before, now = everything("before"), everything("now")
    assert tuple(sections(now)) == CHANGED[:2]
    shown = sections(now, before)
    assert tuple(shown) == CHANGED
    assert "From before to now" in text_of(shown["changed"])
    other = galleries(confusing([0] * 2, [0] * 2), name="before")
    shown = sections(galleries(confusing([0] * 2, [1, 0]), name="now"), other)
    text = text_of(shown["changed"])
    assert "Images: 1 got worse" in text
    assert "red: red → green" in text
    assert "red 100.0% 50.0% -50.0" in text


def test_runs_without_data_in_common_are_told_apart() -> None:
    text = text_of(sections(everything("now"), galleries(name="before"))["changed"])
    assert "No dataset of both can be compared" in text
    assert "retrieval on demo: not compared" in text


def test_the_same_galleries_are_the_same_text() -> None:
    assert sections(everything("mine")) == sections(everything("mine"))


def test_a_thousand_classes_fit_into_a_page() -> None:
    names = [f"class {number}" for number in range(1000)]
    answers = classified([*range(1000)] * 2, [*range(1, 1000), 0] * 2, names)
    shown = galleries(gallery(answers, "classification", {"teacher": accuracies(answers)}))
    html = sections(shown)["fails"]
    assert len(html) < 200_000
    assert "975 classes between" in text_of(html)
