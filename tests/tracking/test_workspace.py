import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.wandb import WandbSettings
from cosmos.errors import InputError
from cosmos.tracking.workspace import save_sweep_workspace, summary_key, sweep_workspace
from tests.tracking.examples import R1

OBJECTIVE = f"retrieval/heldout/student/{R1}"
PARAMS = ["pretrain.momentum", "loss.distill_terms.text_to_text"]


def built(objective: str = OBJECTIVE) -> dict[str, Any]:
    workspace = sweep_workspace("group", "cosmos", "lr-1a2b3c4d", objective, PARAMS)
    model: dict[str, Any] = json.loads(
        workspace._to_model().model_dump_json(by_alias=True, exclude_none=True)
    )
    section: dict[str, Any] = model["spec"]["section"]
    return section


def panels(section: dict[str, Any]) -> dict[str, dict[str, Any]]:
    parts = section["panelBankConfig"]["sections"]
    return {panel["viewType"]: panel["config"] for part in parts for panel in part["panels"]}


def test_parameters_stand_beside_the_objective() -> None:
    columns = panels(built())["Parallel Coordinates Plot"]["columns"]
    assert [column["accessor"] for column in columns] == [
        "config:pretrain.value.momentum",
        "config:loss.value.distill_terms.text_to_text",
        f"summary:{OBJECTIVE}",
    ]
    assert panels(built())["Parameter Importance"]["targetKey"] == OBJECTIVE


def test_curves_are_by_samples_seen_by_the_model_that_was_measured() -> None:
    curves = built()["panelBankConfig"]["sections"][1]["panels"]
    assert [panel["config"]["xAxis"] for panel in curves] == ["samples", "evaluation/samples"]
    assert curves[0]["config"]["metrics"] == ["loss"]


def test_only_the_trials_of_the_sweep_are_in_it() -> None:
    (runs,) = built()["runSets"]
    wanted = {condition["key"]["name"]: condition["value"] for condition in runs["filters"]["filters"]}
    assert wanted == {"group": "lr-1a2b3c4d", "jobType": "pretrain"}


@pytest.mark.parametrize(("objective", "best_first"), [(OBJECTIVE, "descending"), ("loss", "ascending")])
def test_the_best_trial_comes_first(objective: str, best_first: str) -> None:
    (order,) = built(objective)["runSets"][0]["sort"]["keys"]
    assert order["key"]["name"] == summary_key(objective)
    assert order["ascending"] == (best_first == "ascending")


def test_a_curve_is_judged_by_its_last_value() -> None:
    assert summary_key("loss") == "loss.last"
    assert summary_key("seconds") == "seconds"
    assert summary_key(OBJECTIVE) == OBJECTIVE


def test_without_a_key_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="WANDB_API_KEY"):
        save_sweep_workspace(WandbSettings(), "lr-1a2b3c4d", OBJECTIVE, PARAMS)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces", None)
    with pytest.raises(InputError, match=r"pip install 'cosmos-pretraining\[workspaces\]'"):
        save_sweep_workspace(WandbSettings(), "lr-1a2b3c4d", OBJECTIVE, PARAMS)
