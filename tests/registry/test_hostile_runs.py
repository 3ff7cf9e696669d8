"""Lists, tables, pages and files of runs whose names, tags and records come from strangers."""

import csv
import html
import json
import re
from collections.abc import Iterator

import pandas
import pytest

from cosmos.compare.commands import write_comparison
from cosmos.config.machine import Machine
from cosmos.registry.commands import RunQuery, export_runs, print_best_runs, print_run, print_runs
from cosmos.registry.job_table import list_jobs
from cosmos.registry.jobs import JobQuery
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.labels import RunLabels
from tests.hostile_texts import HOSTILE_NAMES, HOSTILE_TEXTS
from tests.registry.run_files import make_run, measure, submit

FIGURE = "image_to_text_R@1"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a run for each hostile text: in its name, tags, group, parameters, data and errors."""
    root = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, text in zip(HOSTILE_NAMES, HOSTILE_TEXTS, strict=True):
            spoil(make_run(root / "runs" / "[" / name, tags=(text, "tag")), text, name)
        yield Machine(runs_root=root / "runs")


def spoil(run: RunDir, text: str, name: str) -> None:
    RunLabels(text, "pretrain", (text, "tag")).write(run)
    measure(run, 0.25)
    results = json.loads(run.result_file("retrieval").read_text())
    entry = {**results["datasets"]["heldout"], "dataset": name, "note": text, "data_hash": ""}
    results["datasets"][name] = entry | {"models": {name: {FIGURE: 0.5, text: 1.0}}}
    write_json(run.result_file("retrieval"), results)
    provenance = json.loads(run.provenance.read_text())
    provenance["sessions"][0] |= {"commit": text, "started": text, "packages": {text: text}}
    write_json(run.provenance, provenance)
    submit(run, "12")
    write_json(run.job, {**json.loads(run.job.read_text()), "job_id": 7, text: text})


def assert_harmless(shown: str) -> None:
    """Check that nothing in a text would do something in a terminal."""
    assert shown.replace("\n", "").isprintable()
    assert "Traceback" not in shown


def test_lists_show_each_run_in_a_line(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    listed = print_runs(RunQuery(), "name", 0, machine, quiet=False)
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert len(listed) == len(HOSTILE_NAMES)
    assert sum(line.startswith("[/") for line in shown.splitlines()) == len(HOSTILE_NAMES)
    best = print_best_runs(f"heldout/teacher/{FIGURE}", RunQuery(), 0, False, machine, quiet=False)
    assert len(best) == len(HOSTILE_NAMES)
    assert_harmless(capsys.readouterr().out)


def test_json_is_exact(machine: Machine) -> None:
    listed = json.loads(json.dumps(print_runs(RunQuery(), "name", 0, machine, quiet=True)))
    assert sorted(run["name"] for run in listed) == sorted(f"[/{name}" for name in HOSTILE_NAMES)
    exact = [text for text in HOSTILE_TEXTS if text.isascii()]
    assert {text for text in exact if any(text in run["tags"] for run in listed)} == set(exact)


def test_each_run_is_shown(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for name in HOSTILE_NAMES:
        print_run(f"[/{name}", machine, quiet=False)
    assert_harmless(capsys.readouterr().out)


def test_jobs_are_listed_and_broken_records_named_in_a_line(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = list_jobs(JobQuery(), 0, machine, quiet=False)
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert len(jobs) == len(HOSTILE_NAMES)
    assert sum("job.json: not a record of a job" in line for line in shown.splitlines()) == len(jobs)


def test_a_comparison_has_no_markup_of_theirs(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"[/{name}" for name in HOSTILE_NAMES]
    for group in (names[:4], names[4:8], names):
        path = machine.runs_root / "page.html"
        write_comparison(group, machine, path, lambda folder: [], quiet=False)
        assert_harmless(capsys.readouterr().out)
        page = path.read_text()
        body = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # the page's own, named by hash
        assert not re.search(r"<img|<script(?! type=.application/json)|onerror=(?!alert\(1\)&gt;)", body)
        assert all(c.isprintable() or c in "\n\t" for c in body)


def test_a_spreadsheet_finds_no_formula(machine: Machine) -> None:
    file = machine.runs_root / "runs.csv"
    export_runs(file, RunQuery(), machine, quiet=True)
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == len(HOSTILE_NAMES) + 1
    for cell in (cell for row in rows for cell in row):
        assert cell.isprintable()
        assert not cell.startswith(("=", "+", "@", "-")) or float(cell) < 0
    assert "'=HYPERLINK(0),tag" in {cell for row in rows for cell in row}
    export_runs(file.with_suffix(".parquet"), RunQuery(), machine, quiet=True)
    assert len(pandas.read_parquet(file.with_suffix(".parquet"))) == len(HOSTILE_NAMES)


def test_escaped_names_are_those_of_the_page(machine: Machine) -> None:
    path = machine.runs_root / "one.html"
    write_comparison([f"[/{HOSTILE_NAMES[5]}"], machine, path, lambda folder: [], quiet=True)
    assert html.escape(HOSTILE_NAMES[5]) in path.read_text()
