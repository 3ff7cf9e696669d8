"""Objectives that the data of a sweep cannot give, refused before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cosmos.config.machine import Machine
from cosmos.config.sweep import Objective, Sweep
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.search.objectives import check_objectives, read_evaluated_data
from tests.search.examples import RECALL, small_sweep


def classifying(folder: Path, figure: str, images: str = "classes") -> Sweep:
    """A sweep that aims for a figure of a set of three classes."""
    own = {"mine": {"images": str(folder / images)}}
    for name in ("cat", "dog", "hen"):
        (folder / "classes" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(folder / "classes" / name / "1.png")
    fixed: dict[str, Any] = {"evaluate": {"classification": {"datasets": ["mine"], "own": own}}}
    return small_sweep(folder, fixed=fixed, objectives=[{"figure": figure}])


def test_a_figure_that_the_dataset_does_not_have_is_refused_with_those_near_it(tmp_path: Path) -> None:
    check_objectives(classifying(tmp_path, "classification/mine/student/top1"), Machine())
    with pytest.raises(InputError, match=r"student/top5: the dataset has no top5; it has top1"):
        check_objectives(classifying(tmp_path, "classification/mine/student/top5"), Machine())


def test_a_dataset_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such"):
        check_objectives(classifying(tmp_path, "classification/mine/student/top1", "no-such"), Machine())
    with pytest.raises(InputError, match="heldout"):
        check_objectives(small_sweep(tmp_path, objectives=[{"figure": RECALL}]), Machine(data_root=tmp_path))


def test_figures_of_training_need_no_dataset(tmp_path: Path) -> None:
    check_objectives(small_sweep(tmp_path, objectives=[{"figure": "loss"}]), Machine(data_root=tmp_path))


def test_data_that_is_measured_while_training_goes_by_the_name_that_its_figures_have(tmp_path: Path) -> None:
    sweep = classifying(tmp_path, "classification/mine/student/top1")
    run, objectives = RunDir(tmp_path), [*sweep.file.objectives, Objective(figure=RECALL)]
    assert read_evaluated_data(run, objectives) == {}
    data = {"train": "aa", "heldout": "bb", "classification/mine": "cc", "classification/other": "dd"}
    run.provenance.write_text(
        json.dumps({"data": data, "sessions": [{"started": "2026-07-20T10:00:00+00:00"}]})
    )
    assert read_evaluated_data(run, objectives) == {"evaluation/classification/mine": "cc"}
