"""Sweeps with constraints: trials beyond them never win, wherever they are shown."""

import json
from pathlib import Path

import pytest

from cosmos.compare.comparison import contenders_of_sweep
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import CosmosError
from cosmos.registry.record import read_run_record
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.conclusion import conclude_sweep
from cosmos.search.controller import Controller
from cosmos.search.repetitions import best_trials
from cosmos.search.study_of_records import study_of_records
from cosmos.search.study_storage import open_study
from cosmos.search.terminal_tables import describe_trial, print_conclusion, print_search_space
from flows.artifacts import trial_row
from tests.search.examples import RECALL, Bench, controller, small_sweep

LIMIT = "device_memory <= 1000"
CONSTRAINTS = [{"figure": "device_memory", "max": 1000}]


def memory(params: Params, epoch: int) -> dict[str, float]:
    """Half of the space takes too much memory: the half with the smaller momenta, and the best recall."""
    return {"device_memory": 900.0 if params.pretrain.momentum > 0.99 else 1100.0}


def lead_sweep(tmp_path: Path, **changes: object) -> Controller:
    sweep = small_sweep(tmp_path, constraints=CONSTRAINTS, sampler={"name": "random"}, **changes)
    return controller(sweep, tmp_path, Bench(extra=memory))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_trial_beyond_a_limit_is_marked_everywhere_and_neither_wins_nor_is_repeated(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lead = lead_sweep(project)
    list(lead.search(8))
    broken = [record for record in lead.folder.trials if record.breaches]
    kept = [record for record in lead.folder.trials if not record.breaches]
    assert max(r.values[RECALL] for r in broken) > max(r.values[RECALL] for r in kept)
    assert {tuple(record.breaches) for record in broken} == {(LIMIT,)}
    assert {record.number for record in lead.repeat()} <= {record.number for record in kept}

    conclusion = conclude_sweep(lead.sweep, lead.folder, {})
    assert not conclusion.candidates[0].breaches
    assert conclusion.candidates[-1].breaches == (LIMIT,)
    entries = json.loads(json.dumps(conclusion.as_json()))["candidates"]
    assert [bool(entry["breaches"]) for entry in entries] == [False] * len(kept) + [True] * len(broken)
    print_conclusion(conclusion, lead.sweep)
    print_search_space(lead.sweep, Machine(), 8)
    output = " ".join(capsys.readouterr().out.split())
    assert f"! breaks a constraint: {LIMIT}: " in output
    assert f"within {LIMIT}" in output

    record = broken[0]
    assert f"device_memory 1100; breaks {LIMIT}" in describe_trial(record)
    assert trial_row(record, lead.folder)["breaches"] == LIMIT
    assert read_run_record(lead.folder.run(record), record.name).breaches == (LIMIT,)
    lines = read_metrics(lead.folder.own.metrics)
    counts = {line["trial"]: line.get("broken_constraints", 0) for line in lines if not line["seed"]}
    assert counts == {record.number: len(record.breaches) for record in [*broken, *kept]}
    contenders = contenders_of_sweep(lead.folder, Machine(runs_root=project))
    assert [bool(contender.breaches) for contender in contenders] == [False] * len(kept) + [True] * len(
        broken
    )


def test_where_all_are_beyond_a_limit_nothing_wins(project: Path) -> None:
    lead = controller(small_sweep(project, constraints=[{"figure": RECALL, "min": 0.9}]), project, Bench())
    list(lead.search(3))
    assert list(lead.repeat()) == []
    conclusion = conclude_sweep(lead.sweep, lead.folder, {})
    assert conclusion.verdict == "no winner: every trial that finished breaks a constraint"
    assert (conclusion.overlay, conclusion.run) == ("", "")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_the_study_knows_constraints_and_is_made_again_from_the_records(tmp_path: Path, sampler: str) -> None:
    sweep = small_sweep(tmp_path, constraints=CONSTRAINTS, sampler={"name": sampler, "startup_trials": 4})
    lead = controller(sweep, tmp_path, Bench(extra=memory))
    list(lead.search(5))
    constraints = [trial.constraints for trial in lead.study.trials]
    assert all(excess[LIMIT] == pytest.approx(0.1) or excess[LIMIT] == -0.1 for excess in constraints)
    assert len({excess[LIMIT] for excess in constraints}) == 2
    remade = study_of_records(sweep, lead.folder)
    assert [trial.constraints for trial in remade.trials] == constraints
    lead.folder.journal.unlink()
    list(controller(sweep, tmp_path, Bench(extra=memory)).search(6))
    assert [t.constraints for t in open_study(sweep, lead.folder, Machine()).trials][:5] == constraints


def test_several_objectives_within_constraints_have_their_front_among_those_that_keep_them(
    tmp_path: Path,
) -> None:
    objectives = [{"figure": RECALL}, {"figure": "device_memory"}]
    lead = lead_sweep(tmp_path, objectives=objectives)
    list(lead.search(6))
    numbers = {record.number for record in lead.folder.trials if not record.breaches}
    best = [trial.number for trial in best_trials(lead.study)]
    assert best
    assert set(best) <= numbers
    assert set(best) == {trial.number for trial in lead.study.best_trials}


def test_a_limited_figure_that_a_trial_lacks_stops_the_sweep_by_its_name(tmp_path: Path) -> None:
    lead = controller(small_sweep(tmp_path, constraints=CONSTRAINTS), tmp_path, Bench())
    with pytest.raises(CosmosError, match="constraints: device_memory: a trial has no such figure; it has"):
        list(lead.search(1))


def test_records_of_before_have_no_constraints_and_keep_them_all(tmp_path: Path) -> None:
    lead = controller(small_sweep(tmp_path), tmp_path, Bench())
    list(lead.search(1))
    run = lead.folder.run(lead.folder.trials[0])
    values = json.loads(run.trial.read_text())
    run.trial.write_text(json.dumps({k: v for k, v in values.items() if k not in ("breaches", "origin")}))
    assert (TrialRecord.of(run).breaches, TrialRecord.of(run).origin) == ([], "")
