from collections.abc import Mapping

import pytest

from cosmos.report.tables import DatasetScores, print_results, results_markdown, score_tables
from cosmos.report.terminal import Terminal

RETRIEVAL = {
    f"{direction}_{name}": value
    for direction in ("image_to_text", "text_to_image")
    for name, value in {
        "R@1": 0.531,
        "R@5": 0.8,
        "R@10": 1.0,
        "mean_rank": 105.25,
        "median_rank": 42.0,
    }.items()
}
HOSTILE = "[bold]x[/] \x1b[31mred\n| **b** <b> \u202eevil"
HOSTILE_METRIC = HOSTILE.replace("/", "")


def measured(
    models: Mapping[str, Mapping[str, float]],
    dataset: str = "coco-val2017",
    checkpoint: str = "last.pt",
    chance: Mapping[str, float] | None = None,
    published: Mapping[str, float] | None = None,
    note: str = "",
) -> DatasetScores:
    return DatasetScores(dataset, checkpoint, models, chance or {}, published or {}, note)


def shown(title: str, suite: str, results: list[DatasetScores], width: int = 80) -> str:
    terminal = Terminal()
    terminal.width = width
    with terminal.capture() as capture:
        print_results(title, suite, results, terminal)
    return capture.get()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def names(text: str) -> list[str]:
    """The first word of each line below the rule."""
    lines = text.splitlines()
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    return [line.split()[0] for line in lines[rule + 1 :] if line.strip()]


def test_each_model_has_a_row_with_recalls_in_percent_and_ranks() -> None:
    text = shown("zero-shot", "retrieval", [measured({"student": RETRIEVAL, "teacher": RETRIEVAL})])
    figures = ["53.1", "80.0", "100.0", "105.2", "42"]
    assert row(text, "student") == ["student", *figures, *figures]
    assert row(text, "teacher") == ["teacher", *figures, *figures]


def test_models_stand_below_their_dataset_and_that_below_its_checkpoint() -> None:
    results = [measured({"student": RETRIEVAL, "teacher": RETRIEVAL}, name) for name in ("coco", "flickr8k")]
    text = shown("zero-shot", "retrieval", results)
    assert text.startswith("zero-shot: last.pt\n")
    assert names(text) == ["coco", "student", "teacher", "flickr8k", "student", "teacher"]


def test_another_checkpoint_has_a_table_of_its_own() -> None:
    results = [measured({"teacher": RETRIEVAL}, checkpoint=name) for name in ("one.pt", "two.pt", "one.pt")]
    text = shown("zero-shot", "retrieval", results)
    assert [line for line in text.splitlines() if "zero-shot" in line] == [
        "zero-shot: one.pt",
        "zero-shot: two.pt",
    ]
    assert results_markdown("zero-shot", "retrieval", results).count("\n| dataset | model |") == 2


def test_guessing_has_a_row_with_what_is_known_of_it() -> None:
    chance = {"image_to_text_R@1": 0.002, "text_to_image_R@1": 0.004}
    text = shown("zero-shot", "retrieval", [measured({"student": RETRIEVAL}, chance=chance)])
    assert row(text, "chance") == ["chance", "0.2", "-", "-", "-", "-", "0.4", "-", "-", "-", "-"]


def test_what_is_published_is_set_beside_the_teacher_with_the_signed_difference() -> None:
    results = [
        measured({"student": {"top1": 0.1}, "teacher": {"top1": 0.383}}, published={"top1": 0.371}),
        measured({"student": {"top1": 0.1}, "teacher": {"top1": 0.367}}, published={"top1": 0.371}),
    ]
    for result, difference in zip(results, ("+1.2", "-0.4"), strict=True):
        text = shown("zero-shot", "classification", [result])
        assert names(text)[1:] == ["student", "teacher", "published", "difference"]
        assert row(text, "published") == ["published", "37.1", "-", "-"]
        assert row(text, "difference") == ["difference", difference, "-", "-"]


@pytest.mark.parametrize("ours", [0.371, 0.3708, 0.3712])
def test_a_difference_that_rounds_to_zero_is_not_negative(ours: float) -> None:
    result = measured({"baseline": {"top1": ours}}, published={"top1": 0.371})
    assert row(shown("t", "classification", [result]), "difference")[1] == "+0.0"


def test_a_student_alone_is_not_compared_with_a_published_teacher() -> None:
    result = measured({"student": {"top1": 0.383}}, published={"top1": 0.371})
    assert row(shown("t", "classification", [result]), "difference")[1:] == ["-", "-", "-"]


def test_without_published_figures_or_chance_there_are_no_rows_of_them() -> None:
    result = measured({"teacher": {"top1": 0.383}})
    assert names(shown("t", "classification", [result])) == ["coco-val2017", "teacher"]
    markdown = results_markdown("t", "classification", [result])
    assert not any(word in markdown for word in ("published", "difference", "chance"))


def test_figures_of_single_classes_are_no_columns() -> None:
    figures = {"add_att": 0.5, "mean": 0.5, "accuracy/cat": 1.0, "csa_IoU/cat": 1.0}
    for suite in ("classification", "segmentation", "perception"):
        assert "cat" not in results_markdown("t", suite, [measured({"teacher": figures})])


def test_segmentation_shows_both_kinds_of_attention() -> None:
    result = measured({"teacher": {"csa_mIoU": 0.777, "csa_accuracy": 0.9, "csa_IoU/cat": 1.0}}, "voc20")
    lines = results_markdown("t", "segmentation", [result]).splitlines()
    assert lines[2] == "| dataset | model | CSA mIoU | CSA accuracy | plain mIoU | plain accuracy |"
    assert lines[4] == "| voc20 | teacher | 77.7 | 90.0 | - | - |"


def test_datasets_of_perception_with_the_same_metrics_share_a_table() -> None:
    sugar, pairs = {"teacher": {"add": 0.5, "mean": 0.5}}, {"teacher": {"text": 0.25, "group": 0.1}}
    results = [measured(sugar, "one"), measured(pairs, "two"), measured(sugar, "three")]
    tables = results_markdown("t", "perception", results).split("**t\\: last\\.pt**\n\n")[1:]
    assert [table.splitlines()[0] for table in tables] == [
        "| dataset | model | add | mean |",
        "| dataset | model | text | group |",
    ]
    assert "| one | teacher | 50.0 | 50.0 |" in tables[0]
    assert "| three | teacher | 50.0 | 50.0 |" in tables[0]
    assert "| two | teacher | 25.0 | 10.0 |" in tables[1]


def test_retrieval_fits_a_terminal_of_eighty_columns() -> None:
    chance = {"image_to_text_mean_rank": 4169.2, "text_to_image_mean_rank": 2500.5}
    published = dict.fromkeys(RETRIEVAL, 0.9)
    models = {"student": RETRIEVAL, "teacher": RETRIEVAL}
    text = shown("t", "retrieval", [measured(models, chance=chance, published=published)])
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert {"coco-val2017", "student", "teacher", "published", "difference", "chance"} == set(names(text))
    assert {len(row(text, name)) for name in ("teacher", "published", "difference", "chance")} == {11}


def test_no_figure_is_cut_where_metrics_have_long_names() -> None:
    figures = dict.fromkeys(
        (f"Structural and Physical Characteristics {number}" for number in range(10)), 1.0
    )
    text = shown("t", "perception", [measured({"teacher": figures})])
    assert row(text, "teacher") == ["teacher", *["100.0"] * 10]


def test_names_are_whole_and_columns_without_room_are_left_out_and_named() -> None:
    name = "a-dataset-of-my-own-with-a-long-name@1a2b3c4d"
    results = [measured({"teacher": RETRIEVAL}, name)]
    text = shown("t", "retrieval", results)
    assert name in text.split()
    assert row(text, "teacher") == ["teacher", "53.1", "80.0", "100.0", "105.2", "42", "53.1"]
    assert "no room for T2I R@5, T2I R@10, T2I mean rank, T2I median rank;" in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(row(shown("t", "retrieval", results, width=200), "teacher")) == 11


def test_ties_are_told_and_their_absence_is_not() -> None:
    tied = RETRIEVAL | {"text_to_image_ties": 0.25, "image_to_text_ties": 0.0}
    results = [measured({"student": tied}, "heldout")]
    for text in (
        shown("t", "retrieval", results, width=200),
        results_markdown("t", "retrieval", results),
    ):
        assert "heldout, student T2I: 25.0% of queries tie with a wrong candidate" in text
        assert "student I2T:" not in text
    assert " tie " not in results_markdown("t", "retrieval", [measured({"student": RETRIEVAL})])


def test_ties_of_classification_are_told_too() -> None:
    results = [measured({"student": {"top1": 0.5, "ties": 0.5}}, "cifar10")]
    told = "cifar10, student top-1: 50.0% of images tie with a wrong class"
    assert told in shown("t", "classification", results, width=200)
    assert told in results_markdown("t", "classification", results)


def test_a_few_accidental_ties_among_many_queries_are_not_told() -> None:
    few = [measured({"student": RETRIEVAL | {"text_to_image_ties": 3 / 25_000}})]
    assert "queries tie" not in shown("t", "retrieval", few)
    assert "queries tie" not in results_markdown("t", "retrieval", few)


def test_the_note_on_a_dataset_stands_below_its_table() -> None:
    results = [measured({"teacher": {"csa_mIoU": 0.5}}, "voc20", note="3 of the 1449 published images")]
    for text in (
        shown("t", "segmentation", results),
        results_markdown("t", "segmentation", results),
    ):
        assert "\nvoc20: 3 of the 1449 published images\n" in text


@pytest.mark.parametrize("suite", ["retrieval", "perception"])
def test_strangers_names_are_shown_literally_in_the_terminal(suite: str) -> None:
    figures = {HOSTILE: RETRIEVAL | {HOSTILE_METRIC: 0.5, "image_to_text_ties": 0.5}}
    text = shown(HOSTILE, suite, [measured(figures, HOSTILE, HOSTILE, note=HOSTILE)], width=400)
    assert "[bold]x[/]" in text
    assert "\\x1b[31mred\\n" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_strangers_names_are_no_markup_in_markdown() -> None:
    figures = {HOSTILE: {"add": 0.5, HOSTILE_METRIC: 0.5, "ties": 0.5}}
    text = results_markdown(HOSTILE, "perception", [measured(figures, HOSTILE, HOSTILE, note=HOSTILE)])
    title, table, *notes = text.split("\n\n")
    assert "\n" not in title
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert {line.replace("\\|", "").count("|") for line in table.splitlines()} == {6}
    assert len(notes) == 2


def test_markdown_holds_the_same_figures() -> None:
    results = [measured({"student": RETRIEVAL}, chance={"image_to_text_R@1": 0.002})]
    lines = results_markdown("zero-shot", "retrieval", results).splitlines()
    assert lines[0] == "**zero\\-shot\\: last\\.pt**"
    assert lines[2].startswith("| dataset | model | I2T R\\@1 | I2T R\\@5 | I2T R\\@10 | I2T mean rank |")
    assert lines[4].startswith("| coco\\-val2017 | student | 53.1 | 80.0 | 100.0 | 105.2 | 42 | 53.1")
    assert lines[5].startswith("| coco\\-val2017 | chance | 0.2 | - |")


def test_the_content_of_tables_is_what_they_show_with_names_as_they_were_given() -> None:
    results = [measured({"teacher": {"top1": 0.383}}, HOSTILE, note="half", chance={"top1": 0.1})]
    (one,) = score_tables("classification", results)
    assert one.checkpoint == "last.pt"
    assert one.headings == ("top-1", "top-5", "mean per class")
    ((dataset, rows),) = one.blocks
    assert dataset == HOSTILE
    assert [(row.name, *row.cells) for row in rows] == [
        ("teacher", "38.3", "-", "-"),
        ("chance", "10.0", "-", "-"),
    ]
    assert one.notes == [f"{HOSTILE}: half"]
