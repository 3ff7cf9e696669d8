"""Artifacts of a pretraining, and figures in tables."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.config.printable_text import printable
from cosmos.registry.jobs import RunJob
from cosmos.report.loss_picture import LossFollower
from cosmos.run.metrics import MetricsWriter
from flows.artifacts import describe_pace, fill_table, percent_done, pretraining_markdown, table_value
from tests.hostile_texts import HOSTILE_TEXTS

QUEUED = RunJob("clip-1a", "812", "slurm", "pending (Resources)", "", 0, 0, 0, 0.0, 0.0, "", 0.0)
RUNNING = replace(
    QUEUED,
    state="running on node[0-1]",
    step=300,
    total_steps=1000,
    samples_per_second=50.0,
    seconds_left=90.0,
)
NO_LOSS = LossFollower(Path("no-such"))


def test_figures_of_tables_are_short_and_none_becomes_zero() -> None:
    assert [table_value(value) for value in (0.000638, 1e-5, 0.123456789, "", 7)] == [
        6.38e-4,
        1e-5,
        0.1235,
        "",
        7,
    ]


def test_a_job_in_the_queue_has_no_pace() -> None:
    assert (percent_done(QUEUED), describe_pace(QUEUED)) == (0.0, "no step yet")


def test_a_running_job_says_how_far_it_is_and_how_long_it_will_take() -> None:
    assert percent_done(RUNNING) == 30.0
    assert describe_pace(RUNNING) == "step 300 of 1000, 50 samples/s, 90 s left"


def test_a_job_is_named_with_its_log_and_what_can_be_done_about_it() -> None:
    said = pretraining_markdown(RUNNING, Path("runs/clip-1a"), NO_LOSS)
    for row in ("| job | 812 |", r"| state | running on node\[0\-1\] |", "| log | `runs/clip-1a/jobs` |"):
        assert row in said
    assert "cosmos attach clip-1a" in said
    assert "cosmos cancel clip-1a" in said


def test_a_pretraining_that_does_without_samples_says_so() -> None:
    assert "samples that can be used" not in pretraining_markdown(RUNNING, Path("runs/clip-1a"), NO_LOSS)
    said = pretraining_markdown(replace(RUNNING, missing_data="393 of 400"), Path("runs/clip-1a"), NO_LOSS)
    assert "| samples that can be used | 393 of 400 |" in said


def test_a_pretraining_without_a_job_has_its_log_and_nothing_to_attach_to() -> None:
    said = pretraining_markdown(replace(RUNNING, job_id="", cluster="debug"), Path("runs/clip-1a"), NO_LOSS)
    assert "| log | `runs/clip-1a/log.txt` |" in said
    assert "attach" not in said
    assert "| state |" not in said
    done = replace(RUNNING, job_id="", cluster="debug", state="in the command itself", step=1000)
    page = pretraining_markdown(done, Path("runs/clip-1a"), NO_LOSS)
    assert "| state | finished |" in page
    assert "| report | `cosmos report clip-1a` writes it |" in page


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_no_name_is_markdown_html_or_more_than_a_row(text: str) -> None:
    hostile = replace(RUNNING, run=text, job_id=text, state=text, problem=text)
    said = pretraining_markdown(hostile, Path(text), NO_LOSS)
    rows = said.splitlines()
    assert all(row.isprintable() for row in rows)
    assert len(rows) == len(
        pretraining_markdown(replace(RUNNING, problem="x"), Path("x"), NO_LOSS).splitlines()
    )
    outside_code = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", said))
    assert not re.search(r"[<\[*]", outside_code)
    assert all(re.sub(r"\\.", "", row).count("|") == 3 for row in rows if row.startswith("|"))


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_no_name_in_a_table_is_markdown_or_html(text: str) -> None:
    (row,) = fill_table([{"checkpoint": text}])
    shown = row["checkpoint"]
    assert shown.isprintable()
    assert not re.search(r"[`<\[*~]|(?<!\w)_|^[#+=-]", re.sub(r"\\.", ".", shown))
    assert re.sub(r"\\([^\w\s])", r"\1", shown) == re.sub(r"\\([^\w\s])", r"\1", printable(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://wandb.ai/team/my_project/runs/lr-1a2b",
        "published:cosmos_vitb16_cc3m",
        "runs/a: no checkpoint's file, and no run; there are: b",
    ],
)
def test_addresses_and_usual_texts_in_a_table_are_as_they_were(text: str) -> None:
    assert table_value(text) == text


def test_a_pretraining_shows_its_loss_and_the_curve_of_it_in_any_ui(tmp_path: Path) -> None:
    loss, metrics = LossFollower(tmp_path / "metrics.jsonl"), MetricsWriter(tmp_path / "metrics.jsonl")
    loss.update()
    metrics.log({"step": 10, "loss": 3.25})
    loss.update()
    first = pretraining_markdown(RUNNING, Path("runs/clip-1a"), loss)
    assert "| loss | 3.25 |" in first
    assert "![" not in first
    for step in range(20, 5000, 10):
        metrics.log({"step": step, "loss": 3 - step / 5000})
    metrics.log({"step": 4990, "evaluation": {"student/heldout/image_to_text_R@1": 0.5}})
    loss.update()
    page = pretraining_markdown(RUNNING, Path("runs/clip-1a"), loss)
    (picture,) = re.findall(
        r"!\[loss by step\]\(data:image/svg\+xml;base64,([\w+/=]+)\)$", page, re.MULTILINE
    )
    assert b"<svg" in base64.b64decode(picture)
    assert len(picture) < 40_000
    MetricsWriter(tmp_path / "metrics.jsonl", resume_step=20)
    loss.update()
    assert "| loss | 2.996 |" in pretraining_markdown(RUNNING, Path("runs/clip-1a"), loss)
