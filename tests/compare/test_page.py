import json
from pathlib import Path

from cosmos.compare.comparison import compare_named
from cosmos.compare.page import render_comparison
from cosmos.search.study_plots import plot_study
from tests.compare.compared import machine, make_run, make_sweep, measure
from tests.report.test_page import HOSTILE, Elements, scripts, without_scripts
from tests.search.examples import Bench


def rendered(folder: Path, *names: str) -> str:
    compared = compare_named(names, machine(folder))
    studies = {sweep.path.name: plot_study(sweep) for sweep in compared.sweeps}
    return render_comparison(compared, names, studies)


def test_the_page_has_the_table_and_the_curves(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0.3)
    make_run(tmp_path, "b", 0.4, momentum=0.9)
    html = rendered(tmp_path, "a", "b")
    words = Elements(html).words
    assert {"a and b", "pretrain.momentum", "0.4 *", "Learning curves", "loss"} <= set(words)
    assert not any(word.startswith("Search: ") for word in words)
    figures = [json.loads(text) for text in scripts(html, ' type="application/json"')]
    assert [trace["name"] for trace in figures[0]["data"]] == ["a", "b"]


def test_a_sweep_has_its_search_as_well_by_the_records_of_its_trials(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(), repeat=False)
    folder.journal.unlink()
    words = Elements(rendered(tmp_path, "small")).words
    assert {f"Search: {folder.path.name}", "trial-0005"} <= set(words)
    assert any(word.startswith("Parallel coordinates") for word in words)


def test_strangers_names_are_shown_and_never_read_as_markup(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "")
    run = make_run(tmp_path, hostile)
    measure(run, {hostile: 0.5}, hostile)
    with run.metrics.open("a") as file:
        file.write(json.dumps({"step": 10, "epoch": 2, "evaluation": {f"</script>{HOSTILE}": 0.5}}) + "\n")
    html = rendered(tmp_path, hostile)
    elements = Elements(html)
    assert elements.names.count("script") == 2 + len(scripts(html, ' type="application/json"'))
    assert "img" not in elements.names
    assert not {"\x1b", "\u202e"} & set(without_scripts(html))
    assert "<script>alert" not in without_scripts(html)


def test_the_same_comparison_is_the_same_page(tmp_path: Path) -> None:
    make_run(tmp_path, "a")
    assert rendered(tmp_path, "a") == rendered(tmp_path, "a")
