from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cosmos.compare.comparison import compare_named
from cosmos.compare.curves import MAX_POINTS, curve_colours, learning_curves, thin_points
from tests.compare.compared import R1, machine, make_run, make_sweep
from tests.search.examples import Bench


def test_curves_are_over_the_samples_seen(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0.4)
    make_run(tmp_path, "b", 0.6, batch_size=64)
    loss, recall = learning_curves(compare_named(["a", "b"], machine(tmp_path)).contenders)
    assert (loss.title, recall.title) == ("loss", f"teacher/heldout/{R1}")
    a, b = loss.figure["data"]
    assert [a["name"], b["name"]] == ["a", "b"]
    assert a["x"] == [32 * step for step in range(1, 11)]
    assert b["x"] == [64 * step for step in range(1, 11)]
    assert a["y"][-1] == 3 - 0.4 - 1
    assert [(trace["x"], trace["y"]) for trace in recall.figure["data"]] == [([160], [0.2]), ([320], [0.3])]
    assert loss.figure["layout"]["showlegend"]


def test_seeds_of_a_trial_share_a_colour_and_a_name(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench())
    compared = compare_named([folder.path.name], machine(tmp_path))
    loss = learning_curves(compared.contenders)[0]
    first, again, *_ = loss.figure["data"]
    assert first["name"] == again["name"]
    assert first["line"]["color"] == again["line"]["color"]
    assert [trace["line"]["dash"] for trace in (first, again)] == ["solid", "dot"]
    assert (first["showlegend"], again["showlegend"]) == (True, False)
    assert len(loss.figure["data"]) == 8


def test_names_are_shown_literally(tmp_path: Path) -> None:
    make_run(tmp_path, "<b>a")
    loss, *_ = learning_curves(compare_named(["<b>a"], machine(tmp_path)).contenders)
    assert loss.figure["data"][0]["name"] == "&lt;b&gt;a"


def test_a_run_without_a_step_has_no_curve(tmp_path: Path) -> None:
    make_run(tmp_path, "a").metrics.unlink()
    assert learning_curves(compare_named(["a"], machine(tmp_path)).contenders) == []


def test_damaged_lines_and_parameters_leave_the_rest_of_a_curve(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    run.metrics.write_bytes(b'{"step": 1, "loss": 2.0}\n\xff\xfe\n{"loss": 1.0}\n{"step": 3, "loss": 1.5}\n')
    run.params.write_text("pretrain: {batch_size: many}")
    (loss,) = learning_curves(compare_named(["a"], machine(tmp_path)).contenders)
    assert (loss.figure["data"][0]["x"], loss.figure["data"][0]["y"]) == ([1, 3], [2.0, 1.5])


def test_steps_whose_loss_was_not_finite_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    with run.metrics.open("a") as file:
        file.write('{"step": 11, "epoch": 2.2, "loss": null}\n')
    loss, *_ = learning_curves(compare_named(["a"], machine(tmp_path)).contenders)
    assert loss.figure["data"][0]["x"][-1] == 320


@given(st.integers(0, 5000))
def test_long_curves_are_thinned_evenly_and_keep_their_end(length: int) -> None:
    points = [(number, float(number)) for number in range(length)]
    kept = thin_points(points)
    assert len(kept) <= MAX_POINTS
    assert kept[-1:] == points[-1:]
    assert len({b - a for (a, _), (b, _) in pairwise(kept)}) <= 1
    if length <= MAX_POINTS:
        assert kept == points


@given(st.integers(1, 60))
def test_each_contender_has_a_colour_of_its_own(number: int) -> None:
    assert len(set(curve_colours(number))) == number
