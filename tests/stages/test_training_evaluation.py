"""Evaluations while training: the same figures from models in memory and from their checkpoint."""

from pathlib import Path

import pytest

from cosmos.config.params import Params, PretrainParams
from cosmos.errors import InputError
from cosmos.model.checkpoints import ModelConfig
from cosmos.run.directory import RunDir
from cosmos.stages.training_evaluation import TrainingEvaluation, evaluate_checkpoint
from tests.model.examples import write_checkpoint
from tests.stages.colours import here, make_place, params, write_flags
from tests.training.examples import CPU


def evaluated_params(folder: Path) -> Params:
    """Parameters of a training that evaluates by three suites, of which two are of sets of one's own."""
    suites = ["retrieval", "classification", "segmentation"]
    own = params(while_training=suites, segmentation=write_flags(folder))
    return own.model_copy(update={"pretrain": PretrainParams(evaluate_every_epochs=1)})


def test_figures_of_a_checkpoint_are_those_of_the_models_in_it_bit_for_bit(tmp_path: Path) -> None:
    make_place(tmp_path)
    asked, machine = evaluated_params(tmp_path), here(tmp_path)
    config = ModelConfig.of(asked)
    models = {name: config.build() for name in ("student", "teacher")}
    path = RunDir(tmp_path / "run").checkpoint(7)
    write_checkpoint(path, models["student"], models["teacher"], config, epoch=1, step=7)
    inside = TrainingEvaluation.open(asked, machine, CPU)
    figures = inside(models)
    assert evaluate_checkpoint(asked, machine, path) == {"step": 7, "figures": figures}
    assert {"student/heldout/image_to_text_R@1", "classification/colours/teacher/top1"} <= figures.keys()
    assert "segmentation/flags/teacher/csa_mIoU" in figures
    assert not any("IoU/" in name for name in figures)
    assert inside.data_hashes().keys() == {"heldout", "classification/colours", "segmentation/flags"}
    assert all(model.training for model in models.values())


def test_a_training_without_evaluations_needs_no_dataset(tmp_path: Path) -> None:
    assert TrainingEvaluation.open(params(), here(tmp_path), CPU).datasets == {}


def test_a_dataset_that_is_missing_shows_before_the_first_step(tmp_path: Path) -> None:
    make_place(tmp_path)
    asked = params(classification={"datasets": ["none"]}, while_training=["classification"])
    asked = asked.model_copy(update={"pretrain": PretrainParams(evaluate_every_epochs=1)})
    with pytest.raises(InputError, match="nowhere"):
        TrainingEvaluation.open(asked, here(tmp_path), CPU)
