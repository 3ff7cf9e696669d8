"""Parameters of flows: those of the experiment's sections, and only as far as they were set."""

import os
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from cosmos.config.job_request import JobRequest
from cosmos.config.params import Params
from flows.evaluate_sweep import evaluate_sweep
from flows.parameters import flow_run_title
from flows.pretrain_sweep import pretrain_sweep
from flows.workspace import pipeline, prepare_data, pretrain

FLOWS: list[Flow[..., Any]] = [prepare_data, pretrain, pipeline, evaluate_sweep]


def schema(flow: Flow[..., Any]) -> dict[str, Any]:
    return parameter_schema(flow).model_dump()


def keys(node: Any, key: str) -> list[Any]:
    """All values of a key in a nested structure."""
    if isinstance(node, dict):
        return [*([node[key]] if key in node else []), *(v for n in node.values() for v in keys(n, key))]
    return [value for child in node for value in keys(child, key)] if isinstance(node, list) else []


def test_the_pipeline_takes_every_section_of_an_experiment() -> None:
    sections = set(schema(pipeline)["properties"]) - {"experiment", "cluster", "slurm"}
    assert sections == set(Params.model_fields)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_is_described_and_none_but_checkpoints_is_needed(flow: Flow[..., Any]) -> None:
    form = schema(flow)
    assert all("description" in field for field in form["properties"].values())
    assert form["required"] == (["checkpoints"] if flow is evaluate_sweep else [])


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_form_has_no_defaults_to_submit_in_place_of_what_the_experiment_says(flow: Flow[..., Any]) -> None:
    form = schema(flow)
    sections = {name: field for name, field in form["properties"].items() if "$ref" in field}
    assert all(field["default"] == {} for field in sections.values())
    inside = [form["definitions"][field["$ref"].rpartition("/")[2]] for field in sections.values()]
    assert keys(inside, "default") == []


def test_descriptions_and_bounds_are_those_of_the_section() -> None:
    epochs = schema(pipeline)["definitions"]["PretrainParams"]["properties"]["epochs"]
    assert epochs["description"] == "passes over the training split (default: 3)"
    assert (epochs["type"], epochs["exclusiveMinimum"]) == ("integer", 0)


def test_what_was_set_arrives_and_nothing_else() -> None:
    asked = {
        "pretrain": {"epochs": 5},
        "evaluate": {"retrieval": {}, "models": ["teacher"]},
        "slurm": {"nodes": 2, "sbatch": ["--exclusive"]},
    }
    values = pipeline.validate_parameters(asked)
    assert values["pretrain"] == {"epochs": 5}
    assert values["evaluate"] == {"models": ["teacher"]}
    assert JobRequest.model_validate(values["slurm"]).model_fields_set == {"nodes", "sbatch"}


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"epoch": 1}, {"momentum_schedule": "linear"}])
def test_what_the_section_would_not_take_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        pipeline.validate_parameters({"pretrain": wrong})


def test_a_form_offers_the_experiments_that_there_are_and_a_run_takes_those_that_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments" / "sweeps").mkdir(parents=True)
    for name in ("b.yaml", "a.yaml", ".hidden.yaml", "\udcff.yaml", "sweeps/s.yaml"):
        (tmp_path / "experiments" / name).touch()
    monkeypatch.chdir(tmp_path)
    flows: list[Flow[..., Any]] = [*FLOWS]
    flows.append(pretrain_sweep)
    for flow in flows:
        assert schema(flow)["properties"]["experiment"]["enum"] == ["", "a", "b"]
    assert schema(pretrain_sweep)["properties"]["sweep"]["enum"] == ["s"]
    (tmp_path / "experiments" / "sweeps" / "s.yaml").unlink()
    assert "enum" not in schema(pretrain_sweep)["properties"]["sweep"]
    assert pipeline.validate_parameters({"experiment": "later"})["experiment"] == "later"


def test_a_form_offers_the_newest_runs_and_sweeps_and_takes_any_other_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def checkpoints() -> Any:
        return schema(evaluate_sweep)["properties"]["checkpoints"]["items"]

    assert checkpoints() == {"type": "string"}
    for number, path in enumerate(
        ("old/checkpoints", "mine/checkpoints", "lr-1a2b/sweep.yaml", "begun/log.txt", "\udcff/checkpoints")
    ):
        (tmp_path / "runs" / path).mkdir(parents=True)
        os.utime(tmp_path / "runs" / path, (number, number))
    named, other = checkpoints()["anyOf"]
    assert named == {"title": "a run", "type": "string", "enum": ["mine", "old"]}
    assert other == {"title": "another", "type": "string"}
    like = schema(pretrain_sweep)["properties"]["like"]
    assert like["anyOf"][0]["enum"] == ["lr-1a2b"]
    assert like["default"] == ""
    asked = ["mine", "runs/new", "published:cosmos_vitb16_cc3m"]
    assert evaluate_sweep.validate_parameters({"checkpoints": asked})["checkpoints"] == asked
    monkeypatch.setenv("COSMOS_RUNS_ROOT", "/proc/none")
    assert checkpoints() == {"type": "string"}


def test_a_sweep_needs_a_checkpoint_and_knows_the_suites() -> None:
    wrong: dict[str, Any]
    for wrong in ({"checkpoints": []}, {"checkpoints": ["a.pt"], "suites": ["reading"]}):
        with pytest.raises(ParameterTypeError):
            evaluate_sweep.validate_parameters(wrong)


def test_a_flow_run_is_called_after_what_was_asked() -> None:
    asked = {"experiment": "clip", "pretrain": {"epochs": 5}, "views": {}, "slurm": {"nodes": 2}}
    assert flow_run_title({**asked, "cluster": "slurm"}) == "clip pretrain.epochs=5 on slurm"
    assert (
        flow_run_title({"experiment": "", "data": {"demo": {"num_train": 9}}})
        == "params.yaml data.demo.num_train=9"
    )
