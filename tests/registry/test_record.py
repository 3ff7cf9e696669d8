import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.config.params import Params
from cosmos.registry.record import RunRecord, flatten_params, is_run_directory, read_run_record
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from tests.config.test_disk_reading import fail_at
from tests.registry.run_files import (
    fail_job,
    fall_silent,
    live,
    make_run,
    measure,
    provenance,
    start_job,
    submit,
    take_part,
    train_to,
)


def record(run: RunDir) -> RunRecord:
    return read_run_record(run, run.path.name)


def test_a_run_in_one_row(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", momentum=0.97)
    RunLabels("ema-1a2b3c4d", "pretrain", ("ema", "trial")).write(run)
    take_part(run, "finished", device_seconds=7.5)
    measure(run, 0.25)
    with run.metrics.open("a") as file:
        file.write(json.dumps({"step": 15, "epoch": 3, "evaluation": {"teacher/heldout/R@1": 0.5}}) + "\n")
    entry = record(run)
    assert (entry.name, entry.status, entry.started) == ("one", "finished", "2026-07-20T10:00:00+00:00")
    assert (entry.group, entry.tags, entry.trial, entry.trial_seed) == (
        "ema-1a2b3c4d",
        ("ema", "trial"),
        3,
        1,
    )
    assert (entry.commit, entry.problem) == ("c0ffee", "")
    assert entry.params["pretrain.momentum"] == 0.97
    assert entry.params["evaluate.models"] == "student,teacher"
    assert (entry.dataset["dataset.manifest"], entry.dataset["dataset.num_samples"]) == ("12345678", 16)
    assert entry.metrics == {
        "device_seconds": 7.5,
        "step": 15.0,
        "epoch": 3.0,
        "loss": 2.5,
        "evaluation/teacher/heldout/R@1": 0.5,
        "retrieval/heldout/student/image_to_text_R@1": 0.25,
        "retrieval/heldout/teacher/image_to_text_R@1": 0.25,
    }


def test_what_schedules_say_in_metrics_does_not_hide_the_parameter(tmp_path: Path) -> None:
    entry = record(make_run(tmp_path))
    assert "momentum" not in entry.metrics
    assert entry.params["pretrain.momentum"] == Params().pretrain.momentum


def test_folders_without_parameters_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert not is_run_directory(tmp_path)
    assert is_run_directory(make_run(tmp_path / "one").path)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: (path.unlink(), path.mkdir())])
def test_a_run_that_lost_its_parameters_is_a_run_with_a_problem(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    run = make_run(tmp_path)
    damage(run.params)
    assert is_run_directory(run.path)
    assert str(run.params) in record(run).problem


class TestStatus:
    """Status of a run, read from its files alone."""

    def test_a_run_that_has_not_come_to_its_end_has_stopped(self, tmp_path: Path) -> None:
        assert record(make_run(tmp_path, epochs=2.0)).status == "stopped"

    def test_with_the_checkpoint_of_its_last_step_it_has_finished(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=2.0)
        train_to(run, 3.0)
        assert record(run).status == "finished"
        run.checkpoint(15).unlink()
        assert record(run).status == "stopped"

    def test_it_runs_while_its_heart_beats(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=2.0)
        live(run)
        assert record(run).status == "running"
        assert record(run).is_alive
        fall_silent(run, 55)
        assert record(run).is_alive
        fall_silent(run, 10)
        assert (record(run).status, record(run).is_alive) == ("stopped", False)
        assert 60 < record(run).seconds_silent < 80

    def test_it_does_not_seem_to_have_stopped_where_a_failing_disk_does_not_tell(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_run(tmp_path, epochs=2.0)
        live(run)
        monkeypatch.setattr(os, "stat", fail_at(run.lease))
        with pytest.raises(OSError, match=r"Input/output error: '.*/writer.json'"):
            record(run)

    def test_a_finished_run_does_not_run_whatever_its_heartbeat(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        live(run)
        assert (record(run).status, record(run).is_alive) == ("finished", False)

    def test_a_clock_that_is_ahead_does_not_kill(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=2.0)
        live(run)
        fall_silent(run, -30)
        assert (record(run).status, record(run).seconds_silent) == ("running", 0.0)

    def test_in_a_queue_it_waits_and_once_begun_it_does_not(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=1.0)
        call = submit(run, job_id="4711")
        assert (record(run).status, record(run).job) == ("waiting", "4711")
        start_job(call)
        assert record(run).status == "stopped"

    def test_once_its_job_has_begun_it_is_starting_until_it_trains(self, tmp_path: Path) -> None:
        run, now = make_run(tmp_path, epochs=1.0), time.time()
        call = submit(run)
        start_job(call, moment=now)
        assert record(run).status == "starting"
        live(run)
        assert record(run).status == "running"
        provenance(run, started=datetime.fromtimestamp(int(now), UTC).isoformat())
        fall_silent(run, 100)
        assert record(run).status == "stopped"
        start_job(call, requeues=1, moment=now + 2)
        assert record(run).status == "starting"
        start_job(call, requeues=2, moment=now - 3600)
        assert record(run).status == "stopped"

    def test_a_failed_job_fails_it_until_a_later_start(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=1.0)
        call = submit(run)
        start_job(call)
        fail_job(call)
        assert record(run).status == "failed"
        live(run)
        assert record(run).status == "running"
        fall_silent(run, 100)
        start_job(call, requeues=1)
        assert record(run).status == "stopped"

    @pytest.mark.parametrize("state", ["paused", "pruned", "failed", "finished"])
    def test_a_trial_stands_as_its_sweep_says(self, tmp_path: Path, state: str) -> None:
        run = make_run(tmp_path, epochs=1.0)
        take_part(run, state)
        assert record(run).status == state

    def test_values_of_a_pruned_trial_are_no_results(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=1.0)
        take_part(run, "pruned", device_seconds=1.0)
        assert "device_seconds" not in record(run).metrics


PARTS = ("params", "metrics", "trial", "labels", "provenance", "job")
"""Files of a run, each of which may be damaged; and results/retrieval.json."""


def whole_run(path: Path) -> RunDir:
    run = make_run(path, epochs=2.0, tags=("ema",))
    take_part(run, "running")
    measure(run, 0.25)
    submit(run)
    return run


def damage(run: RunDir, part: str, content: bytes) -> None:
    (run.result_file("retrieval") if part == "results" else getattr(run, part)).write_bytes(content)


class TestDamage:
    """A damaged file spoils its own part of a record, which says so."""

    @pytest.mark.parametrize("part", [part for part in PARTS if part != "metrics"] + ["results"])
    def test_the_file_is_named_and_all_else_is_there(self, tmp_path: Path, part: str) -> None:
        run = whole_run(tmp_path / "one")
        before = record(run)
        damage(run, part, b'{"half": ')
        entry = record(run)
        assert str(run.result_file("retrieval") if part == "results" else getattr(run, part)) in entry.problem
        assert "\n" not in entry.problem
        assert entry.params == ({} if part == "params" else before.params)
        assert entry.tags == (() if part == "labels" else before.tags)
        assert entry.commit == ("" if part == "provenance" else before.commit)
        assert entry.trial == (None if part == "trial" else before.trial)
        assert entry.job == ("" if part == "job" else before.job)
        assert entry.metrics["loss"] == before.metrics["loss"]
        assert ("retrieval/heldout/student/image_to_text_R@1" in entry.metrics) == (part != "results")

    def test_results_of_other_suites_stay(self, tmp_path: Path) -> None:
        run = whole_run(tmp_path / "one")
        run.result_file("classification").write_text('{"datasets": {"demo": 3}}')
        assert "classification.json: not a file of results (demo: 3); delete it" in record(run).problem
        assert record(run).metrics["retrieval/heldout/student/image_to_text_R@1"] == 0.25

    def test_an_impossible_date_is_named_with_its_file(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "one")
        run.params.write_text("pretrain: {begun: 2026-13-45}")
        assert f"{run.params}: not YAML: month must be in 1..12" in record(run).problem

    def test_a_line_that_was_cut_short_is_passed_over(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, epochs=2.0)
        with run.metrics.open("a") as file:
            file.write('{"step": 11, "epoch": 2.2, "loss": 1.')
        entry = record(run)
        assert (entry.metrics["step"], entry.metrics["loss"], entry.problem) == (10.0, 2.5, "")

    def test_files_that_are_missing_are_no_damage(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        for path in (run.metrics, run.provenance):
            path.unlink()
        entry = record(run)
        assert (entry.status, entry.started, entry.metrics, entry.problem) == ("stopped", "", {}, "")

    @settings(max_examples=60, deadline=None)
    @given(
        part=st.sampled_from([*PARTS, "results"]),
        content=st.binary(max_size=40)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            *("loss", "evaluation", "step", "epoch", "pretrain", "epochs", "tags", "group"),
                            *("sessions", "datasets", "models", "number", "seed", "state", "values", "token"),
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
    def test_no_content_of_any_file_stops_a_list(self, part: str, content: bytes) -> None:
        with TemporaryDirectory() as folder:
            run = whole_run(Path(folder) / "one")
            before = record(run)
            damage(run, part, content)
            entry = record(run)
            assert isinstance(entry.status, str)
            assert all(isinstance(tag, str) for tag in entry.tags)
            if part != "params":
                assert entry.params == before.params
            if part != "labels":
                assert entry.tags == before.tags


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a"], "1,a"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (True, True),
        (None, None),
        ({}, None),
    ],
)
def test_parameters_are_values_that_can_be_compared_and_shown(value: Any, expected: Any) -> None:
    assert flatten_params({"a": {"b": value}}).get("a.b") == expected
