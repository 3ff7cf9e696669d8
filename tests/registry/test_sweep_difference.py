"""Difference between a new sweep and the one of its name that exists, as a command tells it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.experiment import load_params
from cosmos.config.sweep import Sweep
from cosmos.registry.sweep_difference import describe_origin, explain_new_sweep
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from tests.search.examples import RECALL, SMALL, TIME, small_sweep


def existing(folder: Path, sweep: Sweep) -> SweepDir:
    """The directory of a sweep that has begun."""
    place = SweepDir(folder / "runs" / sweep.id)
    place.write_definition(sweep)
    return place


def explain(folder: Path, sweep: Sweep) -> str:
    return explain_new_sweep(sweep, SweepDir(folder / "runs" / sweep.id))


def test_a_sweep_that_exists_and_the_first_of_a_name_need_no_explanation(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    existing(tmp_path, replace(sweep, name="small-er"))
    assert explain(tmp_path, sweep) == ""
    existing(tmp_path, sweep)
    existing(tmp_path, small_sweep(tmp_path, epochs=7))
    assert explain(tmp_path, small_sweep(tmp_path, trials=99)) == ""


SPACE = SMALL["space"]
WIDER = {**SPACE, "pretrain.momentum": {**SPACE["pretrain.momentum"], "low": 0.8}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"epochs": 7}, "base.pretrain.epochs: 3 -> 7"),
        ({"experiment": "image-only"}, "base.experiment: params.yaml -> image-only"),
        ({"space": WIDER}, "space.pretrain.momentum.low: 0.9 -> 0.8"),
        (
            {"space": {"loss.distill_weight": SPACE["loss.distill_weight"]}},
            "space.pretrain.momentum.high: 0.999",
        ),
        (
            {"objectives": [{"figure": RECALL, "goal": "minimize"}]},
            f"objectives.{RECALL}: maximize -> minimize",
        ),
        ({"objectives": [{"figure": RECALL}, {"figure": TIME}]}, f"objectives.{TIME}: None -> minimize"),
    ],
)
def test_another_sweep_of_the_name_says_what_differs(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    before = small_sweep(tmp_path)
    existing(tmp_path, before)
    other = small_sweep(tmp_path, **changes)
    head, *lines = explain(tmp_path, other).splitlines()
    assert head == f"{other.id} is another sweep than {before.id}, which exists:"
    assert any(text.strip().startswith(line) for text in lines), lines


def test_other_data_under_the_same_name_is_another_sweep(tmp_path: Path) -> None:
    before, after = (replace(small_sweep(tmp_path), data=digit * 64) for digit in "ab")
    existing(tmp_path, before)
    assert before.id != after.id
    assert f"data {after.base.data.name}: prepared anew: sha256 aaaaaaaa -> bbbbbbbb" in explain(
        tmp_path, after
    )
    assert describe_origin(after) == f"base params.yaml, data {after.base.data.name} (sha256 bbbbbbbb)"


def test_it_differs_from_the_newest_and_trials_that_run_there_are_told(tmp_path: Path) -> None:
    oldest, newest = small_sweep(tmp_path, epochs=7), small_sweep(tmp_path, epochs=8)
    place = existing(tmp_path, newest)
    os.utime(existing(tmp_path, oldest).definition, (0, 0))
    trial = TrialRecord(newest.id, 0, 0, {"pretrain.momentum": 0.98, "loss.distill_weight": 1.0})
    run = place.run(trial)
    run.path.mkdir()
    trial.write(run)
    text = explain(tmp_path, small_sweep(tmp_path))
    assert "epochs: 8 -> 3" in text
    assert f"1 of its trials have not ended; `cosmos cancel {newest.id}` ends them" in text


def test_a_definition_that_cannot_be_read_is_named_and_stops_nothing(tmp_path: Path) -> None:
    existing(tmp_path, small_sweep(tmp_path, epochs=7)).definition.write_text("name: small")
    assert "sweep.yaml: not the definition" in explain(tmp_path, small_sweep(tmp_path))


def test_many_changes_are_cut_short(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    existing(tmp_path, sweep)
    lines = explain(tmp_path, replace(sweep, base=load_params("vitb16-cc3m"))).splitlines()
    assert len(lines) == 22
    assert lines[-1].strip().startswith("and ")


def test_parameters_in_another_order_are_another_sweep(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    existing(tmp_path, sweep)
    reordered = sweep.file.model_copy(update={"space": dict(reversed(sweep.file.space.items()))})
    assert "the order of space" in explain(tmp_path, replace(sweep, file=reordered))
