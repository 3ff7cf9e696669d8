"""Artifacts of a pretraining, and figures in tables."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.registry.jobs import RunJob
from flows.artifacts import describe_pace, percent_done, pretraining_markdown, table_value
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
    said = pretraining_markdown(RUNNING, Path("runs/clip-1a"))
    for row in ("| job | 812 |", r"| state | running on node\[0\-1\] |", "| log | `runs/clip-1a/jobs` |"):
        assert row in said
    assert "cosmos attach clip-1a" in said
    assert "cosmos cancel clip-1a" in said


def test_a_pretraining_that_does_without_samples_says_so() -> None:
    assert "samples that can be used" not in pretraining_markdown(RUNNING, Path("runs/clip-1a"))
    said = pretraining_markdown(replace(RUNNING, missing_data="393 of 400"), Path("runs/clip-1a"))
    assert "| samples that can be used | 393 of 400 |" in said


def test_a_pretraining_without_a_job_has_its_log_and_nothing_to_attach_to() -> None:
    said = pretraining_markdown(replace(RUNNING, job_id="", cluster="debug"), Path("runs/clip-1a"))
    assert "| log | `runs/clip-1a/log.txt` |" in said
    assert "attach" not in said


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_no_name_is_markdown_html_or_more_than_a_row(text: str) -> None:
    said = pretraining_markdown(replace(RUNNING, run=text, job_id=text, state=text, problem=text), Path(text))
    rows = said.splitlines()
    assert all(row.isprintable() for row in rows)
    assert len(rows) == len(pretraining_markdown(replace(RUNNING, problem="x"), Path("x")).splitlines())
    outside_code = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", said))
    assert not re.search(r"[<\[*]", outside_code)
    assert all(re.sub(r"\\.", "", row).count("|") == 3 for row in rows if row.startswith("|"))
