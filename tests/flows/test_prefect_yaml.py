"""prefect.yaml: a deployment of every flow for this machine, and one for Slurm."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow

from flows.server import POOL, QUEUES

ROOT = Path(__file__).parent.parent.parent
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    file, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / file).is_file()
    flow: Flow[..., Any] = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    return flow


def test_every_flow_has_a_deployment_for_this_machine_and_one_for_slurm() -> None:
    names = {(flow_of(deployment).name, deployment["name"]) for deployment in DEPLOYMENTS}
    flows = ("prepare-data", "pretrain", "evaluate-sweep", "pretrain-sweep", "pipeline")
    assert names == {(flow, target) for flow in flows for target in ("local", "slurm")}
    assert len(DEPLOYMENTS) == len(names)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}-{d['name']}")
def test_a_deployment_is_started_by_people_and_refuses_wrong_parameters(deployment: dict[str, Any]) -> None:
    assert deployment["schedules"] == []
    assert deployment["enforce_parameter_schema"] is True
    needed: dict[str, dict[str, Any]] = {
        "evaluate-sweep": {"checkpoints": ["a.pt"]},
        "pretrain-sweep": {"sweep": "demo"},
    }
    flow = flow_of(deployment)
    flow.validate_parameters({**needed.get(flow.name, {}), **deployment.get("parameters", {})})


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}-{d['name']}")
def test_the_target_says_where_it_runs_and_the_queue_what_it_waits_for(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"]["name"] == POOL
    queues = {"evaluate-sweep": "evaluations", "pretrain-sweep": "sweeps"}
    queue = queues.get(flow_of(deployment).name, "workspace")
    assert deployment["work_pool"]["work_queue_name"] == queue
    assert queue in QUEUES
    if "cluster" in flow_of(deployment).parameters.properties:
        here = "local" if queue == "sweeps" else "debug"
        assert deployment["parameters"] == {"cluster": {"local": here, "slurm": "slurm"}[deployment["name"]]}
