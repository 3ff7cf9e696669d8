"""A pretraining for a pipeline: what it leaves, and when a run is not another one's."""

import json
import shutil
from pathlib import Path

import pytest

from cosmos.config.experiment import load_experiment
from cosmos.config.machine import Machine
from cosmos.model import checkpoints
from cosmos.pipeline.pretrain import pipeline_run_name
from tests.stages.examples import TINY, cosmos


@pytest.fixture(scope="module")
def pretrained(place: Path) -> Path:
    output = place / "pipeline" / "model"
    done = cosmos(place, "pretrain", "--output", str(output), "--pretrain.evaluate_every_epochs", "0")
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.slow
def test_the_output_holds_checkpoint_parameters_provenance_and_metrics(pretrained: Path) -> None:
    assert {path.name for path in pretrained.iterdir()} == {
        *("card.json", "checkpoint.pt", "params.yaml", "provenance.json", "metrics.jsonl")
    }
    assert checkpoints.read_checkpoint(pretrained / "checkpoint.pt").extra["step"] == 15


@pytest.mark.slow
def test_a_pointer_beside_the_output_names_the_run(pretrained: Path) -> None:
    run = Path(pretrained.with_name("model.run").read_text().strip())
    assert (run / "metrics.jsonl").read_text() == (pretrained / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_the_same_command_makes_the_same_output_from_the_finished_run(place: Path, pretrained: Path) -> None:
    shutil.copytree(pretrained, place / "first")
    shutil.rmtree(pretrained)
    done = cosmos(
        place, "pretrain", "--json", "--output", str(pretrained), "--pretrain.evaluate_every_epochs", "0"
    )
    assert json.loads(done.stdout)["steps"] == 15
    assert "step 15 of 15: loss" not in done.stderr
    for file in pretrained.iterdir():
        assert file.read_bytes() == (place / "first" / file.name).read_bytes()


def test_other_data_means_another_run_although_the_parameters_are_the_same(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    experiment = load_experiment(str(tmp_path / "tiny.yaml"))
    shutil.copytree(place / "data", tmp_path / "data")
    before = pipeline_run_name(experiment, Machine(data_root=tmp_path / "data"))
    manifest = tmp_path / "data" / "demo" / "train" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_samples": 40', '"num_samples": 41'))
    assert pipeline_run_name(experiment, Machine(data_root=place / "data")) == before
    assert pipeline_run_name(experiment, Machine(data_root=tmp_path / "data")) != before


def test_data_that_is_not_prepared_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(ValueError, match=r"manifest\.json: no such file; `dvc repro prepare` makes it"):
        pipeline_run_name(load_experiment(str(tmp_path / "tiny.yaml")), Machine(data_root=tmp_path))
