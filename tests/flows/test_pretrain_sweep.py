"""The flow pretrain-sweep on a real server with a real worker."""

import json
from typing import Any

import httpx
import pytest

from cosmos.run.sweep_directory import SweepDir, find_sweep_dir
from tests.flows.served import FINAL, Served
from tests.search.examples import RECALL

pytestmark = pytest.mark.xdist_group("flows")

REQUEST = {"cpus_per_task": 1}


def sweep_of(served: Served, name: str) -> SweepDir:
    return find_sweep_dir(name, served.folder / "runs")


def shown_trials(served: Served, run: str) -> str:
    """The table of trials that a flow run shows."""
    (table,) = (shown["data"] for shown in served.of(run, "artifacts") if shown["key"] == "trials")
    return str(table)


@pytest.mark.slow
def test_each_trial_is_a_task_and_a_row_of_a_table(served: Served) -> None:
    data = served.begin("prepare-data/local")
    assert served.wait_for_state(data, *FINAL) == "Completed", served.log(data)
    run = served.begin("pretrain-sweep/local", sweep="small", parallel=2, slurm=REQUEST)
    assert served.wait_for_state(run, *FINAL) == "Completed", served.log(run)
    folder = sweep_of(served, "small")
    tasks = {task["name"]: task["state"]["name"] for task in served.of(run, "task_runs")}
    assert tasks == {f"{trial.name}, job {trial.job}": "Completed" for trial in folder.trials}
    assert len(tasks) == 3
    shown = {artifact["key"]: artifact["data"] for artifact in served.of(run, "artifacts")}
    for trial in folder.trials:
        assert f'"trial": "{trial.name}", "state": "finished", "{RECALL}": ' in shown["trials"]
    assert "W&B" not in shown["trials"]
    best = json.loads(folder.best.read_text())
    assert served.flow_run(run)["state"]["message"].startswith(best["verdict"])
    page = served.folder / "runs" / "compare" / f"{folder.path.name}.html"
    assert f"`{page}`" in shown["report"]
    assert page.exists()
    assert "small-best" in served.form("pipeline/local")["experiment"]["enum"]
    assert served.form("pretrain-sweep/local")["like"]["anyOf"][0]["enum"] == [folder.path.name]


@pytest.mark.slow
def test_cancelling_stops_asking_and_ends_jobs_unless_they_are_to_go_on(served: Served) -> None:
    for cancel_jobs in (False, True):
        run = served.begin("pretrain-sweep/local", sweep="lasting", parallel=1, cancel_jobs=cancel_jobs)
        served.wait_for(lambda run=run: "begun (job" in served.log(run))  # type: ignore[misc]
        assert served.run("prefect", "flow-run", "cancel", run).returncode == 0
        served.wait_for(lambda run=run: served.state(run) == "Cancelled")  # type: ignore[misc]
        folder = sweep_of(served, "lasting")
        (trial,) = folder.trials
    served.wait_for(lambda: f"jobs cancelled: {trial.job}" in served.log(run))
    served.wait_for(lambda: "cancelled; the same sweep" in shown_trials(served, run))
    assert '"running"' not in shown_trials(served, run)
    assert {task["state"]["name"] for task in served.of(run, "task_runs")} == {"Cancelled"}
    assert len([path for path in folder.run(trial).jobs.iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
def test_wrong_parameters_are_refused_before_there_is_a_run(served: Served) -> None:
    wrong: dict[str, Any]
    for wrong in ({"sweep": "small", "trials": -1}, {"sweep": "no-such"}):
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            served.begin("pretrain-sweep/local", **wrong)
