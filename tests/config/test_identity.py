"""Identity of parameters: the names of runs that exist, and what may be added without changing them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import create_model

from cosmos.config import identity
from cosmos.config.evaluate_params import ClassificationSet, PerceptionSet, RetrievalSet, SegmentationSet
from cosmos.config.experiment import load_experiment, load_recorded_params, merge_sections
from cosmos.config.identity import (
    ADDED_KNOBS,
    describe_changes,
    flatten_sections,
    identifying_values,
    params_fingerprint,
    with_first_defaults,
)
from cosmos.config.params import Params, PretrainParams
from cosmos.config.search_space import CategoricalChoices, FloatRange, IntegerRange, LogOneMinusRange
from cosmos.config.section import Section
from cosmos.config.sweep import Objective
from cosmos.config.sweep_loading import load_sweep

ROOT = Path(__file__).parents[2]
RELEASED_FILE = Path(__file__).parent / "released_params.yaml"
RELEASED, RELEASED_KEYS = yaml.safe_load_all(RELEASED_FILE.read_text())
HINT = (
    "a knob that is added goes into ADDED_KNOBS of cosmos/config/identity.py with its default; "
    "a released key or default is never taken away, since runs are named by it"
)

LATER = create_model("LaterPretrain", __base__=PretrainParams, layer_decay=(float, 1.0))
WITH_KNOB: Any = create_model("LaterParams", __base__=Params, pretrain=(LATER, LATER()))
"""Params as a later version has them: with one knob more, at a default that changes nothing."""


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    knobs = {"pretrain.layer_decay": 1.0}
    monkeypatch.setattr(identity, "ADDED_KNOBS", knobs)
    return knobs


def later(**pretrain: Any) -> Params:
    params = WITH_KNOB.model_validate({"pretrain": pretrain})
    assert isinstance(params, Params)
    return params


def test_every_key_is_one_of_the_release_or_has_the_default_that_it_came_with() -> None:
    now, released = flatten_sections(Params().model_dump(mode="json")), flatten_sections(RELEASED)
    assert set(now) == set(released) | {
        path for path in ADDED_KNOBS if "*" not in path and not path.startswith("sweep.")
    }, HINT


@pytest.mark.parametrize(
    ("path", "models"),
    [
        ("evaluate.retrieval.own.*", [RetrievalSet]),
        ("evaluate.classification.own.*", [ClassificationSet]),
        ("evaluate.segmentation.own.*", [SegmentationSet]),
        ("evaluate.perception.own.*", [PerceptionSet]),
        ("sweep.objectives.*", [Objective]),
        ("sweep.space.*", [FloatRange, LogOneMinusRange, IntegerRange, CategoricalChoices]),
    ],
)
def test_the_same_holds_below_keys_that_users_choose(path: str, models: list[type[Section]]) -> None:
    later = {key.removeprefix(f"{path}.") for key in ADDED_KNOBS if key.startswith(f"{path}.")}
    assert {name for model in models for name in model.model_fields} == {*RELEASED_KEYS[path], *later}, HINT


def test_the_defaults_of_the_release_have_the_name_that_they_always_had() -> None:
    assert params_fingerprint(Params.model_validate(RELEASED)) == "2312b8ac", f"{RELEASED_FILE} was edited"


@pytest.mark.parametrize(
    ("experiment", "fingerprint"),
    [
        ("clip", "f1db8a17"),
        ("siglip", "06a86219"),
        ("no-local-crops", "a4259851"),
        ("vitb16-cc3m", "54bbf6ec"),
        ("vitb32-merged30m", "c0d82f37"),
    ],
)
def test_runs_of_experiments_have_the_names_that_they_always_had(experiment: str, fingerprint: str) -> None:
    loaded = load_experiment(str(ROOT / "experiments" / experiment), base=ROOT / "params.yaml")
    assert params_fingerprint(loaded.params) == fingerprint


@pytest.mark.parametrize("sweep_id", ["demo-1ed118dc", "lr-098bfe03", "ema-crops-weights-b08c23eb"])
def test_sweeps_have_the_ids_that_they_always_had(sweep_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_sweep(sweep_id.rpartition("-")[0]).id == sweep_id


@pytest.mark.usefixtures("added")
def test_an_added_knob_at_its_default_changes_no_fingerprint_and_another_value_does() -> None:
    assert params_fingerprint(later()) == params_fingerprint(Params())
    assert params_fingerprint(later(layer_decay=0.9)) != params_fingerprint(Params())
    assert params_fingerprint(later(layer_decay=0.9)) != params_fingerprint(later(layer_decay=0.8))


def test_a_knob_that_nobody_wrote_down_does_change_it() -> None:
    assert params_fingerprint(later()) != params_fingerprint(Params())


def test_a_changed_default_changes_the_fingerprint() -> None:
    released = params_fingerprint(Params.model_validate(RELEASED))
    changed = merge_sections(RELEASED, {"pretrain": {"momentum": 0.99}})
    assert params_fingerprint(Params.model_validate(changed)) != released


def test_the_same_holds_in_sections_of_their_own_and_in_those_that_users_name(added: dict[str, Any]) -> None:
    added |= {
        "loss.scale.rate": 1,
        "loss.scale.kind": "none",
        "evaluate.own.*.stride": 2,
        "sweep.goals.*.w": 1,
    }
    values = {
        "loss": {"scale": {"rate": 1, "kind": "none"}},
        "evaluate": {"own": {"a": {"stride": 2, "b": 1}}},
    }
    assert identifying_values(values) == {"evaluate": {"own": {"a": {"b": 1}}}}
    assert identifying_values({"own": {}}, "evaluate") == {"own": {}}
    assert identifying_values({"goals": [{"w": 1}, {"w": 2}]}, "sweep") == {"goals": [{}, {"w": 2}]}
    rate = {"scale": {"rate": 2, "kind": "none"}}
    assert identifying_values(rate, "loss") == {"scale": {"rate": 2}}


def test_what_a_record_does_not_know_is_as_it_was_introduced(added: dict[str, Any]) -> None:
    added |= {"loss.scale.rate": 1, "evaluate.own.*.stride": 2, "sweep.goals.*.w": 1}
    values = {"pretrain": {"epochs": 3}, "evaluate": {"own": {"a": {}, "b": {"stride": 3}}}}
    assert with_first_defaults(values) == {
        "pretrain": {"epochs": 3, "layer_decay": 1.0},
        "loss": {"scale": {"rate": 1}},
        "evaluate": {"own": {"a": {"stride": 2}, "b": {"stride": 3}}},
    }
    assert with_first_defaults({"goals": [{}, {"w": 2}]}, "sweep") == {"goals": [{"w": 1}, {"w": 2}]}
    assert with_first_defaults({}, "sweep") == {}


@pytest.mark.parametrize("values", [{}, {"pretrain": 4}, {"pretrain": None}, {"pretrain": [1]}])
def test_broken_records_are_left_to_whoever_validates_them(values: Any, added: dict[str, Any]) -> None:
    assert identifying_values(values) == values
    with_first_defaults(values)


@pytest.mark.usefixtures("added")
def test_a_recorded_run_has_todays_keys_at_the_defaults_of_their_introduction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(json.dumps(RELEASED))
    changed = create_model("ChangedPretrain", __base__=PretrainParams, layer_decay=(float, 0.5))
    params: Any = create_model("ChangedParams", __base__=Params, pretrain=(changed, changed()))
    monkeypatch.setattr("cosmos.config.experiment.Params", params)
    recorded = load_recorded_params(tmp_path / "params.yaml")
    assert params_fingerprint(recorded) == params_fingerprint(Params())
    assert params_fingerprint(params()) != params_fingerprint(Params())
    assert describe_changes(recorded, params()) == ["pretrain.layer_decay: 1.0 -> 0.5"]
