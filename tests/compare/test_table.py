from pathlib import Path
from typing import Any

import pytest

from cosmos.compare.comparison import Contender, compare_named, is_mixed, mark_of_data
from cosmos.compare.curves import learning_curves
from cosmos.compare.table import (
    comparison_remarks,
    comparison_table,
    fold_name,
    format_statistics,
    print_comparison,
)
from tests.compare.compared import R1, RESULT, machine, make_run, make_sweep, measure, spread, train_on
from tests.search.examples import RECALL, Bench


def test_a_few_runs_stand_side_by_side_with_all_their_figures(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0.3, momentum=0.99)
    make_run(tmp_path, "b", 0.4, momentum=0.9)
    made = comparison_table(compare_named(["a", "b"], machine(tmp_path)))
    assert made.headings == ("a", "b")
    assert [block.title for block in made.blocks] == ["", "parameters that differ", "figures"]
    lines = {line.name: [cell.text for cell in line.cells] for block in made.blocks for line in block.rows}
    assert lines["state"] == ["finished", "finished"]
    assert lines["pretrain.momentum"] == ["0.99", "0.9"]
    assert lines[RESULT] == ["0.3", "0.4"]
    assert not any("ties" in name or name.startswith("evaluation/") for name in lines)
    (line,) = (line for line in made.blocks[2].rows if line.name == RESULT)
    assert [cell.is_best for cell in line.cells] == [False, True]


def test_an_evaluation_while_training_is_told_where_no_result_says_the_same(tmp_path: Path) -> None:
    make_run(tmp_path, "a", done=False)
    names = [row.name for row in comparison_table(compare_named(["a"], machine(tmp_path))).blocks[-1].rows]
    assert "evaluation/teacher/heldout/image_to_text_R@1" in names


def test_figures_of_different_data_are_marked_and_none_is_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, recall, data in (("a", 0.3, "a" * 64), ("b", 0.4, "b" * 64)):
        run = make_run(tmp_path, name, recall)
        train_on(run, data)
        run.result_file("retrieval").unlink()
        measure(run, {R1: recall}, data=data)
    compared = compare_named(["a", "b"], machine(tmp_path))
    print_comparison(compared)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert lines["loss"].split()[1:] == ["1.7", "@aaaaaaaa", "1.6", "@bbbbbbbb"]
    assert "0.3 @aaaaaaaa" in lines[RESULT]
    assert lines["seconds"].split()[1:] == ["20", "20"]
    assert "figures of different data do not compare" in lines["@"]
    assert not any(compared.best[figure] for figure in ("loss", RESULT))
    assert [run["data"][RESULT] for run in compared.as_json()["runs"]] == ["a" * 64, "b" * 64]
    legend = {trace["name"] for trace in learning_curves(compared.contenders)[0].figure["data"]}
    assert legend == {"a @aaaaaaaa", "b @bbbbbbbb"}


def test_seeds_of_different_data_are_marked_with_all_of_it(tmp_path: Path) -> None:
    figures = {"loss": spread(1.0, 0.1)}
    trial = Contender("t", "t", "finished", (), {}, figures, data={"loss": "a1 b2"})
    assert is_mixed("loss", [trial])
    assert mark_of_data(trial, "loss") == "@a1 @b2"


def test_many_are_a_line_each_with_what_their_sweep_goes_by(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench())
    compared = compare_named([folder.path.name], machine(tmp_path))
    made = comparison_table(compared)
    assert f"{folder.path.name}: base params.yaml, data demo (sha256 )" in list(comparison_remarks(compared))
    assert made.headings == ("state", "seeds", RECALL, "distill_weight", "momentum")
    (block,) = made.blocks
    assert [line.is_winner for line in block.rows] == [True, *[False] * 5]
    assert block.rows[0].cells[1].text == "2"
    assert "±" in block.rows[0].cells[2].text
    assert block.rows[0].cells[2].is_best


def test_many_runs_without_a_sweep_show_loss_time_and_recall(tmp_path: Path) -> None:
    for number in range(7):
        make_run(tmp_path, f"run-{number}", number / 10, momentum=0.9 + number / 100)
    made = comparison_table(compare_named([f"run-{number}" for number in range(7)], machine(tmp_path)))
    assert made.headings == ("state", "loss", "seconds", RESULT, "momentum")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_terminal_has_room_for_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    for number in range(9):
        params: dict[str, Any] = {
            "momentum": 0.9 + number / 100,
            "learning_rate": 0.001 + number / 1e5,
            "warmup_steps": number,
        }
        measure(
            make_run(tmp_path, f"run-{number}", number / 10, **params), {"image_to_text_R@1": 0.1}, "x" * 30
        )
    monkeypatch.setenv("COLUMNS", str(columns))
    print_comparison(compare_named([f"run-{number}" for number in range(9)], machine(tmp_path)))
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= columns
    assert all(f"run-{number}" in output for number in range(9))
    assert ("the page also has" in output) == (columns < 200)


def test_names_are_no_markup_and_control_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    measure(make_run(tmp_path, "[red]a[/red]"), {"[bold]\x1b[31m": 0.5})
    print_comparison(compare_named(["[red]a[/red]"], machine(tmp_path)))
    output = capsys.readouterr().out
    assert "[red]a[/red]" not in output  # the folder of it is left out
    assert "\x1b" not in output
    assert "[bold]\\x1b[31m" in output


def test_what_is_wrong_with_a_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "a").result_file("retrieval").write_text("{")
    print_comparison(compare_named(["a"], machine(tmp_path)))
    assert "a: " in capsys.readouterr().out


def test_a_trial_whose_record_is_damaged_is_named_below_the_others(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(), trials=3)
    damaged = folder.run(folder.trials[-1]).trial
    damaged.write_text("{")
    compared = compare_named([folder.path.name], machine(tmp_path))
    assert any(line.startswith(str(damaged)) for line in comparison_remarks(compared))


def test_figures_in_words() -> None:
    assert format_statistics(spread(0.314159)) == "0.3142"
    assert format_statistics(spread(0.314159, 0.0123)) == "0.3142 ± 0.012"
    assert format_statistics(spread(1234567.0)) == "1,234,567"
    assert format_statistics(spread(1234567.0, 1000.0)) == "1,234,567 ± 1,000"
    assert format_statistics(spread(1234567.0, 0.0123)) == "1,234,567 ± 0.012"


def test_a_long_name_is_folded_after_slashes() -> None:
    name = "retrieval/heldout@1a2b3c4d/student/image_to_text_R@10"
    assert fold_name(name, 40) == "retrieval/heldout@1a2b3c4d/student/\n  image_to_text_R@10"
    assert fold_name(name, 33) == "retrieval/heldout@1a2b3c4d/\n  student/image_to_text_R@10"
    assert (fold_name(name, 80), fold_name("pretrain.momentum", 8)) == (name, "pretrain.momentum")
