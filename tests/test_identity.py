"""A knob added at its default: the same runs, sweeps and datasets as before it came."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import create_model

from cosmos.config import identity
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, DemoParams, Params, PretrainParams
from cosmos.config.sweep import Sweep, SweepFile
from cosmos.data.preparation import prepare_dataset
from cosmos.errors import InputError
from cosmos.run.directory import open_run

LaterData: Any = create_model("LaterData", __base__=DataParams, dedup=(bool, False))
LaterPretrain = create_model("LaterPretrain", __base__=PretrainParams, layer_decay=(float, 1.0))
LaterParams: Any = create_model(
    "LaterParams", __base__=Params, data=(LaterData, LaterData()), pretrain=(LaterPretrain, LaterPretrain())
)
"""Params of a later version, with two knobs more."""
SWEEP = {
    "space": {"pretrain.momentum": {"distribution": "float", "low": 0.9, "high": 0.99}},
    "objectives": [{"figure": "loss"}],
}


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ADDED_KNOBS", {"data.dedup": False, "pretrain.layer_decay": 1.0})


def test_a_run_goes_on_at_the_default_and_is_refused_at_another_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run", Params())
    monkeypatch.setattr("cosmos.config.experiment.Params", LaterParams)
    with pytest.raises(InputError, match=r"pretrain\.layer_decay: 1\.0 -> 0\.9"):
        open_run(tmp_path / "run", LaterParams(pretrain={"layer_decay": 0.9}))
    assert open_run(tmp_path / "run", LaterParams()) == run
    assert yaml.safe_load(run.params.read_text())["pretrain"]["layer_decay"] == 1.0


def test_a_prepared_dataset_is_used_at_the_default_and_refused_at_another_value(tmp_path: Path) -> None:
    machine = Machine(data_root=tmp_path)
    sizes = {"demo": DemoParams(num_train=2, num_heldout=1, image_size=32)}
    manifests = prepare_dataset(DataParams.model_validate(sizes), machine, processes=1)
    assert prepare_dataset(LaterData.model_validate(sizes), machine, processes=1) == manifests
    with pytest.raises(InputError, match=r"data\.dedup: None -> True"):
        prepare_dataset(LaterData.model_validate({**sizes, "dedup": True}), machine, processes=1)


def test_a_sweep_keeps_its_id_at_the_default_and_has_another_at_another_value() -> None:
    file = SweepFile.model_validate(SWEEP)
    before, now, other = (
        Sweep("lr", file, params, {}).id
        for params in (Params(), LaterParams(), LaterParams(pretrain={"layer_decay": 0.9}))
    )
    assert before == now != other
