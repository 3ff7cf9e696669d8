from rich.console import Console
from rich.table import Table

from cosmos.report.tables import results_markdown, results_table

METRICS = {
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
CHANCE = {"image_to_text_R@1": 0.002, "text_to_image_R@1": 0.004}
HOSTILE = "[bold]x[/] \x1b[31mred\n| **b** <b> \u202eevil"


def shown(table: Table, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_each_model_has_a_row_with_recalls_in_percent_and_ranks() -> None:
    text = shown(results_table("retrieval", {"student": METRICS, "teacher": METRICS}, CHANCE))
    figures = ["53.1", "80.0", "100.0", "105.2", "42"]
    assert row(text, "student") == ["student", *figures, *figures]
    assert row(text, "teacher") == ["teacher", *figures, *figures]


def test_guessing_has_a_row_too_with_what_is_known_of_it() -> None:
    text = shown(results_table("retrieval", {"student": METRICS}, CHANCE))
    assert row(text, "chance") == ["chance", "0.2", "-", "-", "-", "-", "0.4", "-", "-", "-", "-"]


def test_a_few_accidental_ties_among_many_queries_are_not_told() -> None:
    few = METRICS | {"text_to_image_ties": 3 / 25_000}
    assert "queries tie" not in shown(results_table("retrieval", {"student": few}, CHANCE))
    assert "queries tie" not in results_markdown("retrieval", {"student": few}, CHANCE)


def test_the_table_fits_a_terminal_of_eighty_columns() -> None:
    text = shown(results_table("retrieval", {"student": METRICS, "teacher": METRICS}, CHANCE))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_ties_are_told_and_their_absence_is_not() -> None:
    tied = METRICS | {"text_to_image_ties": 0.25, "image_to_text_ties": 0.0}
    for text in (
        shown(results_table("retrieval", {"student": tied}, CHANCE)),
        results_markdown("retrieval", {"student": tied}, CHANCE),
    ):
        assert "student T2I: 25.0% of queries tie with a wrong candidate" in text
        assert "student I2T:" not in text
    assert "tie" not in results_markdown("retrieval", {"student": METRICS}, CHANCE).removeprefix(
        "**retrieval"
    )


def test_strangers_names_are_shown_literally_in_the_terminal() -> None:
    text = shown(results_table(HOSTILE, {HOSTILE: METRICS}, CHANCE), width=200)
    assert "[bold]x[/]" in text
    assert "\\x1b[31mred\\n" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_strangers_names_are_no_markup_in_markdown() -> None:
    text = results_markdown(HOSTILE, {HOSTILE: METRICS}, CHANCE)
    title, table = text.split("\n\n")
    assert "\n" not in title
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert {line.replace("\\|", "").count("|") for line in table.splitlines()} == {12}


def test_markdown_holds_the_same_figures() -> None:
    lines = results_markdown("retrieval", {"student": METRICS}, CHANCE).splitlines()
    assert lines[0] == "**retrieval**"
    assert lines[2].startswith(
        "| model | I2T R@1 | I2T R@5 | I2T R@10 | I2T mean rank | I2T median rank | T2I"
    )
    assert lines[4].startswith("| student | 53.1 | 80.0 | 100.0 | 105.2 | 42 | 53.1")
    assert lines[5].startswith("| chance | 0.2 | - |")
