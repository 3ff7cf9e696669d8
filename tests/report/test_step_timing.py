from collections.abc import Sequence

import pytest

from cosmos.config.training_parts import TrainingPart
from cosmos.report.step_timing import RunTiming
from cosmos.run.step_trace import SessionTrace, StepTrace, TracedSession, TracedStretch

Times = dict[TrainingPart, Sequence[float]]

EVEN: Times = {"forward": [3, 3, 3, 3], "backward": [6, 6, 6, 6], "update": [1, 1, 1, 1]}
"""Ten steps of four ranks that wait for nothing."""

LATE: Times = {**EVEN, "data": [0, 0, 0, 6], "agreement": [6, 6, 6, 0]}
"""The last of them has its data late."""

HOSTS = ("node1", "node1", "node2", "node2")


def timing(*stretches: Times, hosts: tuple[str, ...] = HOSTS) -> RunTiming:
    """Timing of stretches of ten steps."""
    parts = [
        TracedStretch(
            10 * number, 10, {part: tuple(map(float, times)) for part, times in seconds.items()}, {}, {}, None
        )
        for number, seconds in enumerate(stretches, 1)
    ]
    trace = StepTrace([SessionTrace(TracedSession(0, hosts, "cpu", workers=2), parts)])
    run = RunTiming.of(trace)
    assert run
    return run


def test_shares_are_of_the_steps_time_and_the_rest_is_apart() -> None:
    run = timing(EVEN, {**EVEN, "evaluating": [40] * 4, "start": [20] * 4})
    assert [part.part for part in run.parts] == ["forward", "backward", "update"]
    assert [part.share for part in run.parts] == pytest.approx([0.3, 0.6, 0.1])
    assert [part.mean for part in run.parts] == pytest.approx([0.3, 0.6, 0.1])
    assert (run.step_seconds, run.outside) == (1, {"start": 20, "evaluating": 40})
    said = run.verdict()
    assert said[0].startswith("waiting for a session's first batch takes 25.0% of all the time")
    assert "evaluating takes 50.0% of all the time; what may help: evaluations in a job beside" in said[1]
    assert timing(EVEN).verdict() == [
        "the model's own work takes 90.0% of the steps' time; nothing else stands out"
    ]


def test_the_rank_that_the_others_wait_for_is_named_with_its_host_and_part() -> None:
    run = timing(LATE, LATE)
    slow = run.straggler
    assert slow
    assert (slow.rank.rank, slow.rank.host, str(slow.part)) == (3, "node2", "data")
    assert slow.lost == pytest.approx(0.6)
    assert run.verdict() == [
        "rank 3 on node2 is the straggler: waiting for data takes 37.5% of its steps' time, 0.0% elsewhere, "
        "and the others wait for it 37.5% of the time; what may help: more workers (COSMOS_WORKERS, 2 "
        "there), colours of the views on the device (COSMOS_AUGMENT_ON=device) or a faster disk for the "
        "shards"
    ]
    assert run.ranks[0].rank == 3
    assert timing(LATE, hosts=()).verdict()[0].startswith("rank 3 is the straggler")


def test_data_that_is_late_everywhere_is_no_rank_s_fault() -> None:
    run = timing({**EVEN, "data": [5, 5, 5.1, 5]})
    assert run.straggler is None
    assert run.verdict()[0].startswith(
        "waiting for data takes 33.4% of the steps' time; what may help: more workers"
    )


def test_a_slow_device_and_slow_links_are_told_apart() -> None:
    slow: Times = {**EVEN, "forward": [3, 5, 3, 3], "backward": [6, 9, 6, 6], "loss": [5, 0, 5, 5]}
    assert (
        timing(slow)
        .verdict()[0]
        .startswith(
            "rank 1 on node1 is the straggler: backward pass takes 60.0% of its steps' time, 40.0% elsewhere"
        )
    )
    links: Times = {**EVEN, "gradients": [4, 4, 4, 4]}
    assert timing(links).verdict()[0].startswith("exchange of gradients takes 28.6% of the steps' time")


def test_a_run_that_became_slower_says_in_which_part() -> None:
    assert len(timing(*[EVEN] * 6).verdict()) == 1
    run = timing(*[EVEN] * 3, *[{**EVEN, "data": [5.0] * 4}] * 3)
    change = run.change
    assert change
    assert [change.first, change.last] == pytest.approx([1, 1.5])
    assert change.part == "data"
    assert run.verdict()[-1] == (
        "a step took 1 s in the first third and 1.5 s in the last one, waiting for data 0 and 0.5 s of it"
    )
    assert timing(*[EVEN] * 5).change is None


def test_a_trace_without_a_step_has_no_timing() -> None:
    empty = TracedStretch(0, 0, {"saving": (1.0,)}, {}, {}, None)
    session = SessionTrace(TracedSession(0, (), "cpu", 0), [empty])
    assert RunTiming.of(StepTrace([session])) is RunTiming.of(StepTrace([])) is None
