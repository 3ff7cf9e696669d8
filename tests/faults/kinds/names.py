"""Names with markup, quotes, escapes, HTML and other bytes: shown in every list and page, never obeyed."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.faults.tries import TINY_RUN, Try, check_answer
from tests.faults.world import PHOTOS, SWEEP, TINY

NAMES = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</style><b>bold",
    "[/x]",
    "[bold red]loud[/]",
    "[link=http://evil]x",
    "=cmd|'C'!A0",
    "+1+1",
    "@SUM(A1)",
    "-rf",
    "a\x1b[31mred",
    "a\x1b]0;title\x07",
    "two\nlines",
    "tab\tand\rreturn",
    'quote\'d "twice"',
    "{{ 7*7 }}",
    "%(x)s %d {0}",
    "$HOME `id` $(id)",
    "back\\slash",
    "\u202ereversed",
    "\u200b",
    "名前 ß é",
    "e\u0301",
    "not utf-8 \udcff\udcfe",
    "x" * 200,
    ".hidden",
    " space ",
    "a#b?c&d;e",
    "null",
    "nan",
    "1e5",
    "[a-z]*?",
    "a:b",
    "$x^2$ $\\frac{",
    "x\\",
    "[a](javascript:alert(1))",
    "`x`|y~~z~~",
    "</title><script>alert(2)</script>",
    "\x9b31mC1",
    "\x1b]8;;http://e\x07l\x1b]52;c;aGk=\x07",
    "名" * 80,
    "--help",
    "${oc.env:HOME}",
    "- a: b #c",
)
HTML = ("<script>alert", "<img src=x", "</style><b>", "</title><script>")
"""Markup that no page may have as it is."""

ESCAPES = ("\x1b", "\x07", "\x9b", "\u202e")
"""Characters that a terminal obeys: escape, bell, the control sequence of C1, and a mark of direction."""

Placing = Callable[[Try, str], None]


def name_run(attempt: Try, name: str) -> None:
    """Give a run the name."""
    shutil.move(attempt.place / "runs" / "mine", attempt.place / "runs" / on_disk(name))


def name_tag(attempt: Try, name: str) -> None:
    """Give a run the name as its tag, its group and its job type."""
    path = attempt.place / "runs" / "half" / "labels.json"
    path.write_text(json.dumps({"group": name, "job_type": "pretrain", "tags": [name]}))


def name_dataset(attempt: Try, name: str) -> None:
    """Give a dataset in results the name."""
    path = attempt.place / "runs" / "mine" / "results" / "retrieval.json"
    content = json.loads(path.read_text())
    content["datasets"][on_disk(name)] = {
        **content["datasets"]["heldout"],
        "dataset": on_disk(name),
        "title": name,
        "note": name,
    }
    path.write_text(json.dumps(content))


def name_figure(attempt: Try, name: str) -> None:
    """Give a metric, and a model, of a training and of results the name."""
    metrics = attempt.place / "runs" / "half" / "metrics.jsonl"
    lines = [json.loads(line) | {name: 0.5} for line in metrics.read_text().splitlines()]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = attempt.place / "runs" / "mine" / "results" / "retrieval.json"
    content = json.loads(path.read_text())
    content["datasets"]["heldout"]["models"][on_disk(name)] = {name: 0.5}
    path.write_text(json.dumps(content))


def name_provenance(attempt: Try, name: str) -> None:
    """Give commit, device and packages of a run the name; and what a pipeline was trained on."""
    for path in (attempt.place / "runs" / "half", attempt.place / "pipeline" / "model"):
        content = json.loads((path / "provenance.json").read_text())
        for session in content["sessions"]:
            session["commit"] = session["python"] = name
            hardware = session["hardware"]
            session["hardware"] = hardware | {key: name for key in hardware if isinstance(hardware[key], str)}
        (path / "provenance.json").write_text(json.dumps(content))


def name_job(attempt: Try, name: str) -> None:
    """Give a job's record the name as its host and its id."""
    path = attempt.place / "runs" / "mine" / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": name, "job_id": name, "name": name}))


def name_photograph(attempt: Try, name: str) -> None:
    """Give a photograph, and its caption, the name."""
    photos = attempt.place / "photos"
    for ending in (".jpg", ".txt"):
        shutil.move(photos / f"03{ending}", photos / on_disk(name + ending))
    (photos / "04.txt").write_bytes(os.fsencode(name) + b"\n")
    shutil.rmtree(attempt.place / "data" / "photos")


def name_experiment(attempt: Try, name: str) -> None:
    """Describe an experiment, and a sweep, by the name."""
    experiments = attempt.place / "experiments"
    shown = name.encode(errors="replace").decode()
    (experiments / "tiny.yaml").write_text(
        yaml.safe_dump({**TINY, "about": shown, "cost": shown, "expected": shown})
    )
    (experiments / "sweeps" / "small.yaml").write_text(yaml.safe_dump({**SWEEP, "about": shown}))
    (experiments / on_disk(f"{name}.yaml")).write_text("extends: tiny\n")


PLACINGS: tuple[Placing, ...] = (
    name_run,
    name_run,
    name_tag,
    name_dataset,
    name_figure,
    name_provenance,
    name_job,
    name_photograph,
    name_experiment,
)

SHOWN = (
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "best", "loss"),
    ("runs", "show", "half"),
    ("runs", "show", "half", "--json"),
    ("runs", "export", "runs.csv"),
    ("runs", "export", "runs.parquet"),
    ("jobs",),
    ("jobs", "--json"),
    ("compare", "half", "whole"),
    ("compare", "small"),
    ("report", "pipeline"),
    ("report", "half"),
    ("report", "mine"),
    ("experiments",),
    ("experiments", "--json"),
    ("sweep", "small", "--dry-run"),
    ("datasets",),
)
"""Commands that show what others wrote."""


def on_disk(name: str) -> str:
    """Return a name as a file may have it."""
    return name.replace("/", "\u2215")


def attempt(attempt: Try) -> None:
    """Put a name somewhere, and look at what every command makes of it."""
    attempt.copy_world()
    name, placing = attempt.rng.choice(NAMES), attempt.rng.choice(PLACINGS)
    attempt.tell(f"{placing.__name__}: {name!r}")
    placing(attempt, name)
    commands = attempt.rng.sample(SHOWN, 4)
    if placing is name_photograph:
        commands = [("prepare", *PHOTOS)]
    if placing is name_run:
        shown = on_disk(name)
        commands += [
            ("runs", "show", shown),
            ("compare", shown, "half"),
            ("attach", shown),
            ("evaluate", "retrieval", *TINY_RUN, shown),
        ]
    for command in commands:
        show(attempt, command, name)
    check_files(attempt.place)


def show(attempt: Try, command: tuple[str, ...], name: str) -> None:
    """Run a command, and look at its output."""
    ended = attempt.cosmos(*command)
    check_answer(ended, [""])
    assert ended.status in (0, 2) or name in command or on_disk(name) in command, (
        f"failed\n{ended.describe()}"
    )
    escapes = [ascii(sign) for sign in ESCAPES if sign in ended.output]
    assert not escapes, f"{escapes} reach the terminal\n{ended.describe()}"
    if ended.status == 0 and "--json" in command:
        json.loads(ended.output)


def check_files(place: Path) -> None:
    """Raise AssertionError for a page with markup of strangers, or a CSV that a spreadsheet computes."""
    patterns = ("runs/compare/*.html", "runs/*/report*.html", "pipeline/report/*.html")
    pages = [page for pattern in patterns for page in place.glob(pattern)]
    for page in pages:
        text = page.read_text(errors="replace")
        for markup in HTML:
            assert markup not in text, f"{page} has {markup}"
    for table in (*place.glob("*.csv"), place / "pipeline" / "curves.csv"):
        for row in csv.reader(table.read_text(errors="replace").splitlines()):
            computed = [
                cell
                for cell in row
                if cell[:1] in tuple("=@+\t\r") or (cell[:1] == "-" and not is_number(cell))
            ]
            assert not computed, f"{table}: a spreadsheet computes {computed}"
            assert "\x1b" not in "".join(row), f"{table} has an escape"


def is_number(cell: str) -> bool:
    """Return True for the text of a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
