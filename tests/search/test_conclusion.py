import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos.config.experiment import load_params
from cosmos.search.conclusion import Figure, candidates, conclude
from cosmos.search.study import importances
from cosmos.search.sweep_dir import SweepDir, TrialRecord, TrialState, find_sweep
from cosmos.search.tables import print_conclusion
from tests.search.examples import RECALL, TIME, Bench, controller, small_sweep, write_sweep

BOTH = [{"figure": RECALL}, {"figure": TIME, "goal": "minimize"}]


def finished(number: int, seed: int, *values: float, state: TrialState = "finished") -> TrialRecord:
    figures = (RECALL, TIME)[: len(values)]
    return TrialRecord("small", number, seed, {}, state, 1, dict(zip(figures, values, strict=True)))


def best(tmp_path: Path, trials: list[TrialRecord], **changes: Any) -> list[int]:
    return [one.number for one in candidates(small_sweep(tmp_path, **changes), trials) if one.is_best]


def test_figures_have_the_spread_of_their_seeds() -> None:
    assert str(Figure.over([0.1, 0.2, 0.3])) == "0.2 ± 0.1"
    assert str(Figure.over([0.25])) == "0.25"


def test_the_best_is_named_by_its_mean_among_those_with_as_many_seeds(tmp_path: Path) -> None:
    lucky, steady = [finished(0, 0, 0.9), finished(0, 1, 0.1)], [finished(1, 0, 0.6), finished(1, 1, 0.6)]
    once = [finished(2, 0, 0.8)]
    assert best(tmp_path, [*lucky, *steady, *once]) == [1]
    assert best(tmp_path, once) == [2]
    assert best(tmp_path, [finished(3, 0, 0.9, state="pruned"), *once]) == [2]
    assert best(tmp_path, [finished(3, 0, 0.9), *once], objectives=[{**BOTH[0], "goal": "minimize"}]) == [2]


def test_of_several_objectives_the_best_are_those_that_none_beats_in_all(tmp_path: Path) -> None:
    trials = [
        finished(0, 0, 0.5, 10),
        finished(1, 0, 0.6, 20),
        finished(2, 0, 0.5, 15),
        finished(3, 0, 0.4, 5),
    ]
    assert best(tmp_path, trials, objectives=BOTH) == [1, 0, 3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with params.yaml and experiments/ of its own."""
    root = Path.cwd()
    (tmp_path / "experiments").mkdir()
    for name in ("params.yaml", "experiments/image-only.yaml"):
        (tmp_path / name).write_text((root / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("base", ["", "image-only"])
def test_the_best_is_an_experiment_with_exactly_its_parameters(project: Path, base: str) -> None:
    sweep = small_sweep(project, experiment=base, epochs=5)
    lead = controller(sweep, project, Bench())
    list(lead.search(5))
    list(lead.repeat())
    found = conclude(sweep, lead.folder, importances(lead.study, [RECALL]))
    assert found.states == {"finished": 5}
    assert found.overlay == "experiments/small-best.yaml"
    assert load_params("small-best") == sweep.params(found.candidates[0].asked, 0)
    head = yaml.safe_load((project / "experiments" / "small-best.yaml").read_text())
    assert head["about"] == f"best of {sweep.id}: trial {found.candidates[0].number}"
    assert head["expected"].startswith(f"{RECALL} 0.")
    assert head["expected"].endswith(", 2 seeds")
    assert set(head["pretrain"]) == {"momentum", "epochs", "evaluate_every_epochs"}
    assert found.run.endswith(f"trial-{found.candidates[0].number:04d}")
    assert sum(found.importances[RECALL].values()) == pytest.approx(1)
    json.dumps(found.as_json(), allow_nan=False)


def test_what_came_out_is_a_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    list(lead.search(4))
    list(lead.repeat())
    found = conclude(sweep, lead.folder, {RECALL: {"pretrain.momentum": 0.75}})
    print_conclusion(found, sweep)
    said = capsys.readouterr().out
    assert "±" in said
    assert "4 finished" in said
    assert "momentum 75%" in said


def test_a_sweep_without_a_finished_trial_has_no_best(project: Path) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    found = conclude(sweep, lead.folder, {})
    assert (found.candidates, found.overlay, found.run) == ([], "", "")
    assert not (project / "experiments" / "small-best.yaml").exists()


def test_a_sweep_is_found_by_folder_by_id_and_by_name(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / "runs" / sweep.id)
    folder.open(sweep)
    for name in (str(folder.path), sweep.id, "small"):
        assert find_sweep(name, tmp_path / "runs") == folder
    assert folder.sweep() == sweep
    with pytest.raises(ValueError, match=rf"smal: no sweep in .*; there are: {sweep.id}"):
        find_sweep("smal", tmp_path / "runs")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / sweep.id)
    run = folder.run(finished(0, 0, math.pi))
    run.path.mkdir(parents=True)
    run.trial.write_text("{")
    with pytest.raises(ValueError, match=r"trial\.json: not the record of a trial"):
        folder.trials  # noqa: B018
    folder.definition.write_text("name: small\n")
    with pytest.raises(ValueError, match=r"sweep\.yaml: not the definition of a sweep"):
        folder.sweep()
    assert write_sweep(tmp_path / "small.yaml").exists()
