import json
from pathlib import Path

import pytest

from cosmos.cli import run_arguments
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from cosmos.run.step_trace import StepTraceWriter, TracedSession
from tests.registry.run_files import make_run
from tests.run.test_step_trace import stretch


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Run of two ranks on two hosts, with 60 steps."""
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs" / "slow")
    trace = StepTraceWriter(run.timing)
    trace.begin(TracedSession(0, ("node1", "node2"), "NVIDIA A100-SXM4-80GB", 4))
    for step in range(10, 70, 10):
        trace.add(stretch(step))
    MetricsWriter(run.metrics, 15).log({"step": 20, "loss": 2.0, "mfu": 0.41, "data_wait": 0.5})
    return run


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    run_arguments(["runs", "show", "slow", "--timing", *arguments])
    return capsys.readouterr().out


def test_a_run_shows_where_its_time_went(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    text = show(capsys)
    assert text.splitlines()[0] == (
        "slow: 60 steps of 0.3 s, 1 session; the last: 2 ranks on node1, node2 (NVIDIA A100-SXM4-80GB)"
    )
    assert "waiting for data  50.0%     0.15       0  0.2" in text
    assert "\n1 on node2     0.4          50.0%   0.0%\n" in text
    assert "data_wait 0.5; mfu 0.41" in text
    assert "slowest step: 60, 6 s, of which waiting for data 0.5 s (rank 1)" in text
    assert "rank 1 on node2 is the straggler: waiting for data takes 50.0% of its steps' time" in text
    values = json.loads(show(capsys, "--json"))
    assert (values["straggler"]["rank"]["host"], values["parts"]["data"]["share"]) == ("node2", 0.5)
    assert values["verdict"] == text.splitlines()[-len(values["verdict"]) :]


def test_damaged_lines_are_left_out_with_a_line(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.timing.write_text("damaged\n" + run.timing.read_text())
    run_arguments(["runs", "show", "slow", "--timing", "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 60
    assert captured.err.endswith("timing.jsonl: damaged lines: 1, from line 1 on; they are left out\n")


def test_a_trace_that_was_emptied_is_named(run: RunDir) -> None:
    run.timing.write_text("")
    MetricsWriter(run.metrics).log({"step": 10, "loss": 2.0})
    with pytest.raises(InputError, match=r"slow: .*slow/timing\.jsonl: holds no step any more"):
        run_arguments(["runs", "show", "slow", "--timing"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"step": 10, "loss": 2.0}], r"slow: .*/timing\.jsonl: no such file; a run of an earlier"),
        ([], r"slow: .*/timing\.jsonl: no timing yet; it comes with the first loss in metrics"),
    ],
)
def test_a_run_without_a_trace_says_why(run: RunDir, lines: list[dict[str, float]], message: str) -> None:
    run.timing.unlink()
    writer = MetricsWriter(run.metrics)
    for line in lines:
        writer.log(line)
    with pytest.raises(InputError, match=message):
        run_arguments(["runs", "show", "slow", "--timing"])
