from pathlib import Path

import pytest

from cosmos.run import step_trace
from cosmos.run.step_trace import (
    SlowestStep,
    StepTrace,
    StepTraceWriter,
    TracedSession,
    TracedStretch,
    trace_line,
)


def stretch(step: int, ranks: int = 2, steps: int = 10) -> TracedStretch:
    times = tuple(float(rank + 1) for rank in range(ranks))
    slow = SlowestStep(step, 1, step / 10, "data", 0.5)
    return TracedStretch(
        step, steps, {"forward": times, "data": times}, {"forward": 0.1}, {"data": 0.2}, slow
    )


def session(steps_before: int = 0, *hosts: str) -> TracedSession:
    return TracedSession(steps_before, hosts or ("node1", "node2"), "cpu", workers=2)


def written(path: Path, *steps: int) -> StepTraceWriter:
    writer = StepTraceWriter(path)
    writer.begin(session())
    for step in steps:
        writer.add(stretch(step))
    return writer


def test_a_trace_has_its_sessions_and_their_stretches(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    assert StepTrace.of(path) == StepTrace([])
    written(path, 10, 20)
    StepTraceWriter(path).begin(session(20, "node3"))
    (first,) = StepTrace.of(path).sessions  # one that has not logged is none yet
    assert (first.session, first.stretches) == (session(), [stretch(10), stretch(20)])


def test_a_session_drops_the_stretches_of_steps_that_it_takes_again(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    written(path, 10, 20, 30)
    writer = StepTraceWriter(path)
    writer.begin(session(20, "node3", "node4"))
    writer.add(stretch(30))
    first, second = StepTrace.of(path).sessions
    assert [[part.step for part in kept.stretches] for kept in (first, second)] == [[10, 20], [30]]
    assert second.session.hosts == ("node3", "node4")


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        '{"step": 1}',
        "[" * 5000,
        '{"hosts": "node1"}',
        trace_line(stretch(10)).replace("[1.0,2.0]", "[1.0]", 1).strip(),  # of another number of ranks
        trace_line(stretch(10)).replace("1.0", "-1.0").strip(),
        trace_line(stretch(10)).replace("forward", "sideways").strip(),
        '{"step":1,"steps":1,"seconds":{},"median":{},"p95":{},"slowest":null}',
    ],
)
def test_damaged_lines_are_left_out_named_and_dropped(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "timing.jsonl"
    written(path, 10)
    with path.open("a") as file:
        file.write(f"{line}\n{trace_line(stretch(20))}")
    trace = StepTrace.of(path)
    assert trace.damage == f"{path}: damaged lines: 1, from line 3 on"
    assert [part.step for part in trace.sessions[0].stretches] == [10, 20]
    StepTraceWriter(path).begin(session(20))
    assert f"{path}: damaged lines: 1, from line 3 on; dropped" in caplog.text
    assert not StepTrace.of(path).damage


def test_stretches_without_the_line_of_their_session_have_no_hosts(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    path.write_text(trace_line(stretch(10)) + "\x00\n" + trace_line(stretch(20, ranks=4)) + '{"step": 3')
    trace = StepTrace.of(path)
    assert trace.damage.endswith("damaged lines: 1, from line 2 on")  # the last one is still written
    assert [(part.session.hosts, len(part.stretches)) for part in trace.sessions] == [((), 1), ((), 1)]


def test_a_large_trace_is_joined_in_pairs_and_loses_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_trace, "MAX_TRACE_BYTES", 20_000)
    path, largest = tmp_path / "timing.jsonl", 0
    writer = StepTraceWriter(path)
    writer.begin(session())
    for number in range(1, 501):
        writer.add(stretch(10 * number))
        largest = max(largest, path.stat().st_size)
    (kept,) = StepTrace.of(path).sessions
    assert largest < 21_000
    assert 30 < len(kept.stretches) < 150
    assert (kept.stretches[-1].step, sum(part.steps for part in kept.stretches)) == (5000, 5000)
    assert sum(part.seconds["data"][1] for part in kept.stretches) == 1000
    slowest = [part.slowest.seconds for part in kept.stretches if part.slowest]
    assert (max(slowest), sorted(slowest)) == (500, slowest)


def test_what_is_no_file_is_left_alone_and_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "timing.jsonl"
    path.mkdir()
    writer = StepTraceWriter(path)
    writer.begin(session())
    writer.add(stretch(10))
    assert path.is_dir()
    assert f"{path}" in caplog.text
    assert "no timing is kept; move it away" in caplog.text
