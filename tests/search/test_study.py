"""Whatever proposes trials, and whatever stops them, leads a sweep."""

from pathlib import Path

import pytest

from tests.search.examples import Bench, controller, small_sweep


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_proposes_trials(tmp_path: Path, sampler: str) -> None:
    sweep = small_sweep(tmp_path, sampler={"name": sampler, "startup_trials": 2})
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(5))
    assert [trial.state.name for trial in lead.study.trials] == ["COMPLETE"] * 5
    assert len({str(record.asked) for record in lead.folder.trials}) == 5


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband", "halving"])
def test_every_pruner_but_none_stops_trials(tmp_path: Path, pruner: str) -> None:
    sweep = small_sweep(tmp_path, epochs=9, pruner={"name": pruner, "startup_trials": 2})
    lead = controller(sweep, tmp_path, Bench(slow=True))
    list(lead.search(12))
    states = {trial.state.name for trial in lead.study.trials}
    assert states == ({"COMPLETE"} if pruner == "none" else {"COMPLETE", "PRUNED"})
