import math
from pathlib import Path

from cosmos.tracking.metrics import Metrics, last_with, read_metrics


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "m.jsonl")
    for step in (10, 20):
        metrics.log({"step": step, "loss": 1.5})
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 10, "loss": 1.5}, {"step": 20, "loss": 1.5}]


def test_a_resumed_run_logs_no_step_twice(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "m.jsonl")
    for step in (10, 20, 30):
        metrics.log({"step": step})
    resumed = Metrics(tmp_path / "m.jsonl", resume_step=20)
    resumed.log({"step": 30})
    assert [line["step"] for line in read_metrics(tmp_path / "m.jsonl")] == [10, 20, 30]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"step": 10}\n{"step": 20, "lo')
    assert [line["step"] for line in read_metrics(tmp_path / "m.jsonl")] == [10]


def test_the_last_line_with_a_key_is_found_past_others_and_a_half_one(tmp_path: Path) -> None:
    assert last_with("loss", tmp_path / "m.jsonl") == {}
    (tmp_path / "m.jsonl").write_text(
        '{"step": 9, "loss": 2}\n{"step": 10, "loss": 1}\n{"step": 10, "R@1": 0}\n{"lo'
    )
    assert last_with("loss", tmp_path / "m.jsonl") == {"step": 10, "loss": 1}
    assert last_with("lr", tmp_path / "m.jsonl") == {}


def test_values_without_a_word_in_json_become_null(tmp_path: Path) -> None:
    Metrics(tmp_path / "m.jsonl").log({"step": 1, "loss": math.nan})
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 1, "loss": None}]
