"""Pages of runs that were written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos.compare.run_report import write_run_report
from cosmos.errors import InputError
from cosmos.evaluation.value_file import write_image_values
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results, image_values_path
from cosmos.run.statistics.image_values import ImageValues
from tests.compare.compared import machine, make_run, make_sweep
from tests.report.test_page import HOSTILE, Elements, scripts, without_scripts
from tests.search.examples import Bench


def page_of(folder: Path, name: str, against: str = "") -> str:
    """Write a report, and return its page without the scripts that every page has."""
    written = write_run_report(name, against, machine(folder), None, quiet=True)
    return without_scripts(Path(written["report"]).read_text())


def words_of(html: str) -> str:
    return " ".join(Elements(html).words)


def plots_of(html: str) -> dict[str, Any]:
    titles = [value for value in Elements(html).values("aria-label") if value != "sections"]
    return dict(zip(titles, map(json.loads, scripts(html, ' type="application/json"')), strict=False))


def put_result(run: RunDir, suite: str, dataset: str, metric: str, right: int, **entry: Any) -> None:
    """Record a share of 100 images that were answered rightly, with the value of each."""
    models = {"teacher": {metric: right / 100}}
    whole = {"models": models, "data_hash": "da7a", "own_data": True, **entry}
    results = Results(run.result_file(suite), suite)
    results.put(dataset, whole)
    values = ImageValues("images", {metric: (np.arange(100) < right).astype(np.float64)})
    write_image_values(image_values_path(results.path, dataset, "da7a", "teacher"), values)


def test_reports_against_runs_of_like_names_are_other_pages(tmp_path: Path) -> None:
    for name in ("mine", "a b", "a-b"):
        make_run(tmp_path, name)
    pages = {page_of(tmp_path, "mine", against) for against in ("a b", "a-b")}
    assert len(pages) == len(list(tmp_path.glob("mine/report-against-*.html"))) == 2
    assert (tmp_path / "mine" / "report-against-a-b.html").is_file()


def test_a_page_has_a_verdict_the_figures_and_the_way_to_get_it_again(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", done=False, momentum=0.9)
    put_result(run, "classification", "colours", "top1", 60, chance={"top1": 0.1})
    session = {"started": "2026-07-20T10:00:00+00:00", "commit": "c0ffee", "command": ["cosmos", "pretrain"]}
    run.provenance.write_text(json.dumps({"data": {"train": "da7a5e7"}, "sessions": [session]}))
    html = page_of(tmp_path, "mine")
    words = words_of(html)
    assert "The teacher of mine has top-1 60.0% (50.2% to 69.1%) on colours; guessing has 10.0%." in words
    assert "50.2% to 69.1%" in words
    assert "2026-07-20 10:00 UTC" in words
    assert "git checkout c0ffee" in words
    assert "cosmos pretrain --experiment again.yaml --run mine-again" in words
    assert "pretrain.momentum 0.96 -> 0.9" in words
    assert "momentum: 0.9" in words
    assert {"Loss", "retrieval/heldout: image_to_text_R@1"} <= set(plots_of(html))


def test_a_run_without_evaluations_says_so_and_how_to_measure_it(tmp_path: Path) -> None:
    make_run(tmp_path, "new", done=False)
    (tmp_path / "new" / "metrics.jsonl").write_text('{"step": 1, "epoch": 0.2, "samples": 32, "loss": 3}\n')
    words = words_of(page_of(tmp_path, "new"))
    assert "new has not been measured." in words
    assert "`cosmos evaluate --run new` measures it." in words
    assert "stopped, 1 of 10 steps" in words
    (tmp_path / "new" / "metrics.jsonl").unlink()
    assert "No step was logged." in words_of(page_of(tmp_path, "new"))


def test_two_runs_are_told_apart_by_what_is_larger_than_chance(tmp_path: Path) -> None:
    better, worse = make_run(tmp_path, "a", done=False), make_run(tmp_path, "b", done=False, momentum=0.5)
    for run, top1, iou in (better, 80, 50), (worse, 40, 52):
        put_result(run, "classification", "colours", "top1", top1)
        put_result(run, "segmentation", "shapes", "csa_mIoU", iou)
    html = page_of(tmp_path, "a", "b")
    words = words_of(html)
    assert "Against b: better by top-1; by 2 of 3 figures the difference may be chance." in words
    figures = [word for word in Elements(html).words if word.startswith(("classification/", "segmentation/"))]
    assert figures[0] == "classification/colours/teacher/top1"
    assert "+40.0 points" in words
    assert "pretrain.momentum 0.96 0.5" in words
    loss = plots_of(html)["Loss"]["data"]
    assert [(trace["name"], trace["line"]["dash"]) for trace in loss] == [("a", "solid"), ("b", "dash")]
    with pytest.raises(InputError, match="that is the run itself"):
        write_run_report("a", "a", machine(tmp_path), None, quiet=True)


def test_a_sweep_is_reported_by_the_first_of_its_trials(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(), repeat=False)
    written = write_run_report("small", "", machine(tmp_path), None, quiet=True)
    assert Path(written["report"]) == folder.path / "report.html"
    words = words_of(without_scripts(Path(written["report"]).read_text()))
    assert f"{folder.path.name} has no winner" in words or f"the winner of {folder.path.name}" in words


def test_the_plan_of_a_run_stands_beside_what_was_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", done=False)
    hardware = {"device": "cuda:0", "gpu": "NVIDIA A100-SXM4-40GB", "ranks": 4}
    session = {"hardware": hardware, "job": {"nodes": ["node0", "node1"]}}
    dataset = {"num_samples": 170}
    run.provenance.write_text(json.dumps({"data": {}, "dataset": dataset, "sessions": [session]}))
    rates = {"samples_per_second": 64.0, "mfu": 0.25, "flops_per_sample": 8e8, "data_wait": 0.05}
    totals = {"seconds": 5.0, "device_seconds": 7200.0, "device_memory": 310_000_000}
    MetricsWriter(run.metrics).log({"step": 11, "epoch": 2.2, "samples": 352, "loss": 1.0, **rates, **totals})
    words = words_of(page_of(tmp_path, "mine"))
    assert "170 samples demo: provenance.json" in words
    assert "2 x 2 a100-40gb" in words
    for measured in ("0.5 s", "25.0%", "310 MB", "800 MFLOP", "5.0% of the time waited for data"):
        assert measured in words


def test_requeues_and_resumes_are_marked_in_the_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", done=False)
    sessions = [{"step": 0}, {"step": 4, "job": {"requeues": 1}}, {"step": 7}, {}]
    run.provenance.write_text(json.dumps({"data": {}, "sessions": sessions}))
    html = page_of(tmp_path, "mine")
    layout = plots_of(html)["Loss"]["layout"]
    assert [line["x0"] for line in layout["shapes"]] == [4, 7]
    assert [note["text"] for note in layout["annotations"]] == ["requeued", "resumed"]
    assert "1 later sessions are not marked" in words_of(html)


def test_names_of_strangers_and_a_thousand_classes_do_no_harm(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    run = make_run(tmp_path, name, done=False)
    figures = {"top1": 0.5, **{f"accuracy/{HOSTILE}{number}": 0.5 for number in range(1000)}}
    entry = {"models": {"teacher": figures}, "note": HOSTILE, "title": HOSTILE, "data_hash": "da7a"}
    Results(run.result_file("classification"), "classification").put(name, entry)
    MetricsWriter(run.metrics, 10).log({"step": 10, "epoch": 2, "evaluation": {f"x/{HOSTILE}/y": 0.5}})
    html = page_of(tmp_path, name)
    elements = Elements(html)
    assert set(scripts(html)) == set()
    assert "img" not in elements.names
    assert not {"\x1b", "\u202e"} & set(html)
    assert "<script>alert" not in html
    assert len(html) < 500_000


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", done=False)
    run.params.write_text("pretrain: [")
    run.provenance.write_text("{")
    words = words_of(page_of(tmp_path, "mine"))
    assert "params.yaml" in words
    assert "provenance.json: not a provenance" in words
    assert "without the run's parameters" in words


def test_a_typo_names_what_is_near(tmp_path: Path) -> None:
    make_run(tmp_path, "mine")
    with pytest.raises(InputError, match=r"mien: no run and no sweep.*mine"):
        write_run_report("mien", "", machine(tmp_path), None, quiet=True)
