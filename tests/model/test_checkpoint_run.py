"""Checkpoints in runs: those of another training or step are refused where they are read."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from cosmos.config.identity import training_fingerprint
from cosmos.config.params import Params
from cosmos.errors import InputError, TransientError
from cosmos.model.checkpoint_run import origin_of_run
from cosmos.model.checkpoints import read_checkpoint
from cosmos.run.directory import RunDir, open_run, write_params
from tests.model.examples import CONFIG, write_checkpoint

SLOWER = Params.model_validate({"pretrain": {"momentum": 0.9}})


def trained_run(folder: Path, params: Params, data: str = "5f2c", step: int = 3) -> RunDir:
    """A run with these parameters on data with this hash, and its checkpoint."""
    run = open_run(folder, params)
    provenance = {"data": {"train": f"manifest of {data}"}, "sessions": [], "dataset": {"content": data}}
    run.provenance.write_text(json.dumps(provenance))
    run.metrics.write_text("")
    run.checkpoints.mkdir()
    model = CONFIG.build()
    write_checkpoint(run.checkpoint(step), model, model, CONFIG, step=step, **origin_of_run(run))
    return run


def test_a_checkpoint_of_another_training_is_refused_in_a_run(tmp_path: Path) -> None:
    run, other = trained_run(tmp_path / "run", Params()), trained_run(tmp_path / "other", SLOWER)
    shutil.copyfile(other.checkpoint(3), run.checkpoint(3))
    with pytest.raises(
        InputError, match=r"run/checkpoints/step-00000003\.pt: saved by another training than"
    ):
        read_checkpoint(run.checkpoint(3))


def test_a_checkpoint_of_a_training_on_other_data_is_refused_in_a_run(tmp_path: Path) -> None:
    run, other = trained_run(tmp_path / "run", Params()), trained_run(tmp_path / "other", Params(), "9e01")
    shutil.copyfile(other.checkpoint(3), run.checkpoint(3))
    message = (
        r"step-00000003\.pt: saved by a training on other data than that of .*/run/provenance\.json; move"
    )
    with pytest.raises(InputError, match=message):
        read_checkpoint(run.checkpoint(3))


def test_one_of_the_same_training_is_taken(tmp_path: Path) -> None:
    run, again = trained_run(tmp_path / "run", Params()), trained_run(tmp_path / "again", Params())
    shutil.copyfile(again.checkpoint(3), run.checkpoint(3))
    assert read_checkpoint(run.checkpoint(3)).extra["step"] == 3


def test_a_checkpoint_with_the_name_of_another_step_is_refused(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", Params())
    run.checkpoint(3).rename(run.checkpoint(9))
    with pytest.raises(InputError, match=r"step-00000009\.pt: holds step 3, .* name it step-00000003\.pt"):
        read_checkpoint(run.checkpoint(9))


@pytest.mark.parametrize(
    "values", [{}, {"training": 7, "training_data": [], "step": True}], ids=["none", "of other types"]
)
def test_what_a_file_does_not_say_is_not_looked_at(tmp_path: Path, values: dict[str, object]) -> None:
    run = trained_run(tmp_path / "run", Params())
    model = CONFIG.build()
    write_checkpoint(run.checkpoint(3), model, model, CONFIG, **values)
    assert read_checkpoint(run.checkpoint(3)).student


def test_a_file_outside_of_runs_may_be_of_any_training(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", Params())
    write_params(RunDir(tmp_path), SLOWER)  # of a project
    (tmp_path / "checkpoints").mkdir()
    for place in (tmp_path / "step-00000009.pt", tmp_path / "checkpoints" / "step-00000009.pt"):
        shutil.copyfile(run.checkpoint(3), place)
        assert read_checkpoint(place).student


def test_parameters_and_data_that_cannot_be_read_are_no_other_ones(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", Params())
    run.params.write_text("pretrain: [")
    run.provenance.write_text("{")
    assert read_checkpoint(run.checkpoint(3)).student


def test_a_disk_that_fails_leaves_no_checkpoint_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained_run(tmp_path / "run", Params())

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("cosmos.run.records.open_regular", fail)
    with pytest.raises(TransientError, match=r"run/provenance\.json: .*Input/output error"):
        read_checkpoint(run.checkpoint(3))


def test_a_training_is_the_same_whatever_its_data_was_made_from_and_is_measured_by(tmp_path: Path) -> None:
    others = [
        {"data": {"seed": 7}},
        {"evaluate": {"models": ["student"]}},
        {"pretrain": {"max_damaged": 0.5}},
    ]
    fingerprints = {training_fingerprint(Params.model_validate(values)) for values in others}
    assert fingerprints == {training_fingerprint(Params())}
    assert training_fingerprint(Params.model_validate({"data": {"name": "coco"}})) not in fingerprints
