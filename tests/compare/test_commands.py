import json
import os
from pathlib import Path

import pytest

from cosmos.compare.commands import default_page_path, save_workspace, write_comparison
from cosmos.compare.page import page_label
from cosmos.search.study_plots import plot_study
from tests.compare.compared import RESULT, machine, make_run


def test_the_table_is_json_and_the_page_is_where_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "a", 0.3)
    make_run(tmp_path, "b", 0.4, momentum=0.9)
    told = write_comparison(["a", "b"], machine(tmp_path), None, plot_study, quiet=True)
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    unknown = dict.fromkeys(("deviation", "low", "high"))
    assert told["runs"][1]["figures"][RESULT] == {"mean": 0.4, **unknown}
    assert (told["leads"][RESULT]["leader"], told["leads"][RESULT]["wins"]) == ("b", False)
    assert RESULT in told["runs"][1]["best"]
    assert told["page"] == str(tmp_path / "compare" / "a+b.html")
    assert Path(told["page"]).read_text().startswith("<!doctype html>")

    write_comparison(["a", "b"], machine(tmp_path), tmp_path / "own.html", plot_study, quiet=False)
    said = capsys.readouterr().out
    assert "pretrain.momentum" in said
    assert f"page: {tmp_path / 'own.html'}" in said


def test_pages_of_many_runs_have_short_names_of_their_own(tmp_path: Path) -> None:
    many = [f"run-{number}" for number in range(99)]
    page, other = default_page_path(many, machine(tmp_path)), default_page_path(many[1:], machine(tmp_path))
    assert page != other
    assert len(page.name) < 50
    unprintable = [*many, os.fsdecode(b"caf\xe9")]
    assert default_page_path(unprintable, machine(tmp_path)).name.startswith("100-runs-")
    assert default_page_path(["../folder/a"], machine(tmp_path)).parent == tmp_path / "compare"


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (["a-b", "c"], ["a", "b-c"]),
        (["x/y"], ["x-y"]),
        (["x y", "z"], ["x-y", "z"]),
        (["名" * 20], ["名" * 21]),
    ],
)
def test_pages_of_other_names_are_other_files(tmp_path: Path, names: list[str], others: list[str]) -> None:
    page, other = default_page_path(names, machine(tmp_path)), default_page_path(others, machine(tmp_path))
    assert page != other
    assert len(bytes(page.name, "utf-8")) < 120
    assert page_label(names) != page_label(others)
    assert default_page_path(["tiny", "small-1"], machine(tmp_path)).name == "tiny+small-1.html"


def test_a_workspace_is_of_a_sweep(tmp_path: Path) -> None:
    make_run(tmp_path, "a")
    with pytest.raises(ValueError, match="--wandb: a workspace is of a sweep"):
        save_workspace(["a"], machine(tmp_path), quiet=True)
