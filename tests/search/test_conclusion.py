import errno
import json
import os
from pathlib import Path

import pytest
import yaml

from cosmos.config.experiment import load_params
from cosmos.errors import TransientError
from cosmos.search.conclusion import conclude_sweep
from cosmos.search.study import Importances, parameter_importances
from cosmos.search.terminal_tables import print_conclusion
from flows.pretrain_sweep import describe_conclusion
from tests.search.examples import RECALL, Bench, controller, small_sweep


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
    conclusion = conclude_sweep(sweep, lead.folder, parameter_importances(lead.study, [RECALL]))
    assert conclusion.states == {"finished": 5}
    assert conclusion.overlay == "experiments/small-best.yaml"
    assert load_params("small-best") == sweep.params(conclusion.candidates[0].asked, 0)
    head = yaml.safe_load((project / "experiments" / "small-best.yaml").read_text())
    assert head["about"] == f"{sweep.id}, {conclusion.origin}: {conclusion.verdict}"
    assert head["expected"].startswith(f"{RECALL} 0.")
    assert head["expected"].endswith(", 2 seeds")
    assert set(head["pretrain"]) == {"momentum", "epochs", "evaluate_every_epochs"}
    assert conclusion.run.endswith(f"trial-{conclusion.candidates[0].number:04d}")
    assert conclusion.importances[RECALL].withheld == "5 of at least 12 trials finished"
    json.dumps(conclusion.as_json(), allow_nan=False)


def test_what_came_out_is_a_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    list(lead.search(4))
    list(lead.repeat())
    conclusion = conclude_sweep(
        sweep, lead.folder, {RECALL: Importances({"pretrain.momentum": 0.75, "loss.distill_weight": 0.0004})}
    )
    print_conclusion(conclusion, sweep)
    output = capsys.readouterr().out
    assert "±" in output
    assert "4 finished" in output
    assert "momentum 75.0%, distill_weight 0.04%" in output


def test_trials_that_are_equal_have_no_winner_no_importances_and_no_experiment(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench(lambda params: [0.0]))
    list(lead.search(13))
    conclusion = conclude_sweep(sweep, lead.folder, parameter_importances(lead.study, [RECALL]))
    print_conclusion(conclusion, sweep)
    output = capsys.readouterr().out
    assert "no winner: 13 trials are equal" in output
    assert "withheld: all 13 trials are equal" in " ".join(output.split())
    assert "*" not in output
    assert (conclusion.overlay, conclusion.run, describe_conclusion(conclusion)) == (
        "",
        "",
        conclusion.verdict,
    )
    assert not (project / "experiments" / "small-best.yaml").exists()
    assert conclusion.as_json()["verdict"] == "no winner: 13 trials are equal"


def test_importances_need_a_dozen_trials_that_differ(project: Path) -> None:
    lead = controller(small_sweep(project), project, Bench())
    list(lead.search(12))
    importances = parameter_importances(lead.study, [RECALL])[RECALL]
    assert sum(importances.shares.values()) == pytest.approx(1)
    assert not importances.withheld


def test_a_sweep_without_a_finished_trial_has_no_best(project: Path) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    conclusion = conclude_sweep(sweep, lead.folder, {})
    assert (conclusion.candidates, conclusion.overlay, conclusion.run) == ([], "", "")
    assert not (project / "experiments" / "small-best.yaml").exists()


def test_a_full_disk_is_named_by_the_file_that_it_lacked_room_for_and_the_next_conclusion_has_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    list(lead.search(3))

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cosmos.run.files.os.fsync", fill_up)
    with pytest.raises(TransientError, match=r"experiments/small-best\.yaml: No space left on device"):
        conclude_sweep(sweep, lead.folder, {})
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert [path.name for path in (project / "experiments").iterdir()] == ["image-only.yaml"]
    assert conclude_sweep(sweep, lead.folder, {}).overlay == "experiments/small-best.yaml"


def test_records_of_no_use_are_named_in_the_conclusion(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = small_sweep(project)
    lead = controller(sweep, project, Bench())
    list(lead.search(3))
    (lead.folder.path / "trial-0001" / "trial.json").write_text("{}")
    conclusion = conclude_sweep(sweep, lead.folder, {})
    assert conclusion.states == {"finished": 2}
    (problem,) = conclusion.problems
    assert problem.startswith(
        f"{lead.folder.path}/trial-0001/trial.json: not a record of a trial (sweep: Field"
    )
    assert problem in describe_conclusion(conclusion)
    print_conclusion(conclusion, sweep)
    assert problem in capsys.readouterr().out
