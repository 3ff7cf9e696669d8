import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.run import metrics
from cosmos.run.metrics import (
    MetricsLines,
    MetricsTail,
    MetricsWriter,
    last_line_with,
    last_lines_with,
    read_metrics,
)


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    log = MetricsWriter(tmp_path / "m.jsonl")
    for step in (10, 20):
        log.log({"step": step, "loss": 1.5})
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 10, "loss": 1.5}, {"step": 20, "loss": 1.5}]


def test_figures_that_come_later_stand_at_their_step(tmp_path: Path) -> None:
    log = MetricsWriter(tmp_path / "m.jsonl")
    for line in (
        {"step": 10, "loss": 2},
        {"step": 20, "loss": 1},
        {"step": 10, "evaluation": {"a/b/c": 0.5}},
    ):
        log.log(line)
    kinds = [(line["step"], "loss" in line) for line in read_metrics(tmp_path / "m.jsonl")]
    assert kinds == [(10, True), (10, False), (20, True)]
    MetricsWriter(tmp_path / "m.jsonl", resume_step=20)  # which keeps the order in which they came
    assert [line["step"] for line in MetricsLines.of(tmp_path / "m.jsonl").lines] == [10, 20, 10]


def test_a_resumed_run_logs_no_step_twice(tmp_path: Path) -> None:
    log = MetricsWriter(tmp_path / "m.jsonl")
    for step in (10, 20, 30):
        log.log({"step": step})
    resumed = MetricsWriter(tmp_path / "m.jsonl", resume_step=20)
    resumed.log({"step": 30})
    assert [line["step"] for line in read_metrics(tmp_path / "m.jsonl")] == [10, 20, 30]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"step": 10}\n{"step": 20, "lo')
    assert [line["step"] for line in read_metrics(tmp_path / "m.jsonl")] == [10]


def test_the_last_line_with_a_key_is_found_past_others_and_a_half_one(tmp_path: Path) -> None:
    assert last_line_with("loss", tmp_path / "m.jsonl") == {}
    (tmp_path / "m.jsonl").write_text(
        '{"step": 9, "loss": 2}\n{"step": 10, "loss": 1}\n{"step": 10, "R@1": 0}\n{"lo'
    )
    assert last_line_with("loss", tmp_path / "m.jsonl") == {"step": 10, "loss": 1}
    assert last_line_with("lr", tmp_path / "m.jsonl") == {}


def test_values_without_a_word_in_json_become_null(tmp_path: Path) -> None:
    values = {"step": 1, "loss": math.nan, "evaluation": {"a/b": math.inf, "a/c": 0.5}}
    MetricsWriter(tmp_path / "m.jsonl").log(values)
    assert read_metrics(tmp_path / "m.jsonl") == [
        {"step": 1, "loss": None, "evaluation": {"a/b": None, "a/c": 0.5}}
    ]


lines = st.one_of(
    st.dictionaries(
        st.sampled_from(["loss", "evaluation", "step"]),
        st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.dictionaries(st.text(), st.none() | st.integers()),
    ).map(json.dumps),
    st.text(st.characters(exclude_characters="\n", codec="utf-8")),
    st.sampled_from(
        ['{"step": 3, "loss": 1}', '["loss"]', '{"loss": 1', "1", "null", "", "\0", '{"step": 3}\r']
    ),
)


@settings(deadline=None)
@given(written=st.lists(lines), cut=st.integers(0, 20), block=st.integers(1, 70))
def test_the_last_lines_are_those_that_reading_forward_finds(
    written: list[str], cut: int, block: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        path = Path(folder) / "metrics.jsonl"
        content = "".join(f"{line}\n" for line in written).encode()
        path.write_bytes(content[: len(content) - cut])
        forward, last = MetricsLines.of(path), last_lines_with(("loss", "evaluation"), path)
        for key in ("loss", "evaluation"):
            assert last.by_key.get(key, {}) == next(
                (line for line in reversed(forward.lines) if key in line), {}
            )
        assert forward.damage or not last.damage
        assert MetricsTail(path).new_lines() in (forward.lines, forward.lines[:-1])


@pytest.mark.parametrize(
    "line",
    [
        b"null", b"[]", b'"loss"', b"7", b'{"loss": 1.0}', b'{"step": "8", "loss": 1}', b'{"step": -1}',
        b'{"step": 1e300}', b'{"step": NaN}', b'{"step": true}', b'{"step": 8, "loss": "low"}',
        b'{"step": 8, "loss": [1]}', b'{"step": 8, "loss": {}}', b'{"step": 8, "evaluation": 1}',
        b'{"step": 8, "loss": 1e999}', b'{"step": 8, "evaluation": {"R@1": {}}}',
        b'{"step": 8' + b"0" * 6000 + b"}", b"[" * 100_000, b'{"step": 8, "loss": "\xff"}', b"\0\0",
        b'{"st',
    ],
)  # fmt: skip
def test_a_damaged_line_is_left_out_and_its_file_named(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 7, "loss": 2}\r\n' + line + b'\n\n{"step": 9, "val": 1}\n')
    written = MetricsLines.of(path)
    assert [values["step"] for values in written.lines] == [7, 9]
    assert written.damage == f"{path}: damaged lines: 1, from line 2 on"
    last = last_lines_with(["loss"], path)
    assert last.by_key["loss"]["step"] == 7
    assert str(path) in last.damage or (line.startswith(b"{") and line.endswith(b"}"))
    assert [values["step"] for values in MetricsTail(path).new_lines()] == [7, 9]
    MetricsWriter(path, resume_step=8)
    assert path.read_text() == '{"step": 7, "loss": 2}\n'
    assert f"{path}: damaged lines: 1, from line 2 on; dropped" in caplog.text


def test_of_a_whole_file_they_are_what_reading_it_finds(tmp_path: Path) -> None:
    log = MetricsWriter(tmp_path / "m.jsonl")
    for step in range(3):
        log.log({"step": step, "loss": 1.5 - step})
    last = [line for line in read_metrics(tmp_path / "m.jsonl") if "loss" in line][-1]
    assert last_lines_with(("loss",), tmp_path / "m.jsonl").by_key == {"loss": last}


def test_new_lines_are_told_once_and_all_of_a_file_that_was_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines = MetricsTail(path)
    assert (lines.new_lines(), lines.is_anew) == ([], False)
    log = MetricsWriter(path)
    log.log({"step": 10})
    assert (lines.new_lines(), lines.is_anew) == ([{"step": 10}], True)
    log.log({"step": 20})
    with path.open("a") as file:
        file.write('{"step": 30')
    assert (lines.new_lines(), lines.is_anew) == ([{"step": 20}], False)
    assert lines.new_lines() == []
    resumed = MetricsWriter(path, resume_step=10)
    resumed.log({"step": 20, "loss": 1.5})
    assert (lines.new_lines(), lines.is_anew) == ([{"step": 10}, {"step": 20, "loss": 1.5}], True)
