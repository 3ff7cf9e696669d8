from pathlib import Path

from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.labels import RunLabels
from cosmos.run.results import read_result_figures
from cosmos.tracking.curves import CurveAxis
from cosmos.tracking.description import RunDescription, result_table
from tests.tracking.examples import R1, begun, measure, trained


def test_a_trial_is_described_by_its_sweep_and_parameters(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "lr-1a2b3c4d" / "trial-0003")
    begun(run.path, "lr-1a2b3c4d")
    write_json(run.trial, {"number": 3, "seed": 1, "state": "running", "until": 2})
    description = RunDescription.of(run)
    assert (description.name, description.group, description.job_type) == (
        "lr-1a2b3c4d/trial-0003",
        "lr-1a2b3c4d",
        "pretrain",
    )
    assert description.tags == ("first try", "demo")
    assert description.config["pretrain"]["momentum"] == 0.96
    assert description.config["trial"] == {"number": 3, "seed": 1, "until": 2}


def test_config_says_commit_data_and_job_but_no_command(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    session = {
        "commit": "c0ffee",
        "diff": "",
        "hardware": {"device": "cpu"},
        "job": {},
        "command": ["secret"],
    }
    job = {"cluster": "slurm", "id": "812", "requeues": 1, "nodes": ["node0"]}
    newest = {**session, "job": job}
    write_json(
        run.provenance, {"data": {"train": "b9be"}, "requeues": 1, "sessions": [session, newest], "dvc": {}}
    )
    assert RunDescription.of(run).config["provenance"] == {
        "commit": "c0ffee",
        "changed": False,
        "data": {"train": "b9be"},
        "device": "cpu",
        "job": job,
        "requeues": 1,
    }


def test_what_was_only_evaluated_is_described_by_its_checkpoint(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "published-cc3m")
    measure(run, 0.5)
    description = RunDescription.of(run)
    assert (description.name, description.job_type) == ("published-cc3m", "evaluate")
    assert description.config["provenance"] == {"checkpoint": "published:cc3m"}


def test_a_sweep_needs_no_parameters(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "lr-1a2b3c4d")
    RunLabels("lr-1a2b3c4d", "search", ("lr", "x" * 90)).write(run)
    description = RunDescription.of(run)
    assert (description.name, description.job_type) == ("lr-1a2b3c4d", "search")
    assert description.tags == ("lr", "x" * 64)


def test_a_damaged_file_is_named_and_left_out(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    before = RunDescription.of(run)
    run.provenance.write_text("{")
    run.labels.write_text('{"tags": 1}')
    description = RunDescription.of(run)
    assert (description.name, description.config["pretrain"]) == (before.name, before.config["pretrain"])
    assert f"{run.provenance}: not a provenance" in description.problem
    assert f"{run.labels}: not a file of labels" in description.problem
    run.params.write_text("data: 3\npretrain: [")
    assert str(run.params) in RunDescription.of(run).problem
    assert CurveAxis.of(run) == CurveAxis(0, 0)


def test_figures_and_table_of_results_leave_single_classes_out(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    measure(run, 0.5)
    file = run.result_file("retrieval")
    assert read_result_figures(file) == {
        f"retrieval/heldout/student/{R1}": 0.5,
        f"retrieval/heldout/teacher/{R1}": 0.25,
    }
    assert result_table(file) == (
        ["dataset", "data", "model", "images", R1],
        [["heldout", "da7a0123", "student", 12, 0.5], ["heldout", "da7a0123", "teacher", 12, 0.25]],
    )
