"""The flows on a real server with a real worker, in a checkout of their own."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from cosmos.errors import InputError
from cosmos.pipeline.dvc import STAGES
from flows.server import check_port_free
from tests.flows.served import DOWN, FINAL, UP, Served
from tests.workspaces import git

pytestmark = pytest.mark.xdist_group("flows")

OF_TRAIN = {"retrieval": {"datasets": ["train"]}}


@pytest.fixture(scope="module")
def whole(served: Served) -> str:
    """A flow run of the whole pipeline, with a parameter of its own."""
    run = served.begin("pipeline/local", evaluate=OF_TRAIN)
    assert served.wait_for_state(run, *FINAL) == "Completed", served.log(run)
    return run


def test_a_port_that_is_taken_is_named_with_the_way_round() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1:{port}: .*PREFECT_SERVER_API_PORT={port + 1}"):
            check_port_free("127.0.0.1", port)
    with pytest.raises(InputError, match=r"192\.0\.2\.1:4200: .*; check PREFECT_SERVER_API_HOST"):
        check_port_free("192.0.2.1", 4200)


@pytest.mark.slow
def test_serving_twice_goes_on_and_another_checkout_keeps_away(served: Served, tmp_path: Path) -> None:
    again = served.run(*UP)
    assert again.returncode == 0, again.stderr
    assert "the server runs already" in again.stdout
    assert "the worker runs already" in again.stdout
    other = subprocess.run(UP, cwd=tmp_path, env=served.environment, capture_output=True, text=True)
    assert other.returncode == InputError.exit_status
    assert f"127.0.0.1:{served.port}: Address already in use, by something that is not this" in other.stderr
    down = subprocess.run(DOWN, cwd=tmp_path, env=served.environment, capture_output=True, text=True)
    assert down.stdout.splitlines() == ["the worker did not run", "the server did not run"]
    assert served.post("/flow_runs/count", {}) >= 0


@pytest.mark.slow
def test_the_pipeline_runs_every_stage_as_a_task(served: Served, whole: str) -> None:
    tasks = {task["name"]: task["state"]["name"] for task in served.of(whole, "task_runs")}
    assert tasks == dict.fromkeys(STAGES, "Completed")
    assert served.flow_run(whole)["parameters"] == {"cluster": "debug", "evaluate": OF_TRAIN}
    assert "step 15 of 15" in served.log(whole)


@pytest.mark.slow
def test_it_shows_how_far_pretraining_is_the_figures_and_the_report(served: Served, whole: str) -> None:
    shown = {artifact["key"]: artifact["data"] for artifact in served.of(whole, "artifacts")}
    suites = [f"results-{stage.partition('@')[2]}" for stage in STAGES if "@" in stage]
    assert set(shown) >= {"pretraining-progress", "pretraining", *suites, "report"}
    assert shown["pretraining-progress"] == 100
    assert "step 15 of 15" in shown["pretraining"]
    assert "| state | finished |" in shown["pretraining"]
    assert "![loss by step](data:image/svg+xml;base64," in shown["pretraining"]
    assert '"dataset": "train"' in shown["results-retrieval"]
    folder = served.pipeline(whole)
    assert str(folder / "report" / "report.html") in shown["report"]
    for text in ("I2T R\\@1", "top\\-1", "plain mIoU", "replace\\_att", "![loss by step](data:"):
        assert text in shown["report"]
    offered = served.form("evaluate-sweep/local")["checkpoints"]["items"]["anyOf"][0]["enum"]
    assert Path((folder / "model.run").read_text().strip()).name in offered
    assert f"data_root={folder.relative_to(served.folder) / 'data'}" in shown["data"]


@pytest.mark.slow
def test_its_parameters_are_in_its_folder_and_nothing_of_the_checkout_changed(
    served: Served, whole: str
) -> None:
    folder = served.pipeline(whole)
    used = yaml.safe_load((folder / "experiment.yaml").read_text())
    assert used["evaluate"]["retrieval"]["datasets"] == ["train"]
    assert git(served.folder, "status", "--porcelain", "params.yaml", "pipeline") == ""
    assert not (served.folder / "pipeline" / "data").exists()
    provenance = json.loads((folder / "model" / "provenance.json").read_text())
    assert [session["version"].endswith("-dirty") for session in provenance["sessions"]] == [False]


@pytest.mark.slow
def test_a_second_time_nothing_runs(served: Served, whole: str) -> None:
    begun = time.monotonic()
    command = ["prefect", "deployment", "run", "pipeline/local", "--watch"]
    done = served.run(*command, "--param", 'evaluate={"retrieval": {"datasets": ["train"]}}')
    print(f"a pipeline with nothing to do: {time.monotonic() - begun:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = served.post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert "Running stage" not in served.log(runs[0]["id"])
    assert "dvc.yaml:report' didn't change, skipping" in served.log(runs[0]["id"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pretrain": {"epochs": -1}}, "-1 is less than or equal to the minimum of 0"),
        ({"pretrain": {"epoch": 1}}, "'epoch' was unexpected"),
        ({"cluster": "cloud"}, "'cloud' is not one of"),
        ({"experiment": "lastin"}, "'lastin' is not one of ['', "),
    ],
)
def test_wrong_parameters_are_refused_before_there_is_a_run(
    served: Served, parameters: dict[str, object], message: str
) -> None:
    before = served.post("/flow_runs/count", {})
    with pytest.raises(httpx.HTTPStatusError) as refused:
        served.begin("pipeline/local", **parameters)
    assert message in refused.value.response.text
    assert served.post("/flow_runs/count", {}) == before


@pytest.mark.slow
def test_parameters_that_do_not_fit_together_fail_the_run_before_any_stage(served: Served) -> None:
    run = served.begin("pretrain/local", views={"local_size": 7})
    assert served.wait_for_state(run, *FINAL) == "Failed"
    assert "views.local_size: 7 is not a multiple of" in served.flow_run(run)["state"]["message"]
    assert served.of(run, "task_runs") == []


@pytest.mark.slow
def test_a_sweep_measures_what_it_can_and_fails_for_the_rest(served: Served, whole: str) -> None:
    folder = served.pipeline(whole)
    checkpoints = [str(folder / "model/checkpoint.pt"), "lost"]
    asked = {"checkpoints": checkpoints, "suites": ["retrieval"], "data_root": str(folder / "data")}
    run = served.begin("evaluate-sweep/local", **asked)
    assert served.wait_for_state(run, *FINAL) == "Failed"
    assert "lost: no checkpoint's file, and no run" in served.flow_run(run)["state"]["message"]
    (table,) = [a["data"] for a in served.of(run, "artifacts") if a["key"] == "sweep-retrieval"]
    assert "image_to_text_R@1" in table
    assert "lost: no checkpoint's file" in table


@pytest.mark.slow
def test_a_cancelled_pretraining_saves(served: Served, whole: str) -> None:
    run = served.begin("pretrain/local", experiment="lasting")
    folder = served.pipeline(run)
    served.wait_for(lambda: served.steps(folder) > 10)
    served.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert served.wait_for_state(run, *FINAL) == "Cancelled"
    trained = served.folder / (folder / "model.run").read_text().strip()
    assert list((trained / "checkpoints").glob("step-*.pt"))


@pytest.mark.slow
def test_two_flows_and_a_pretraining_beside_them_each_train_what_they_were_asked_for(
    served: Served, whole: str
) -> None:
    data = served.pipeline(whole) / "data"
    runs = {seed: served.begin("pretrain/local", pretrain={"seed": seed, "epochs": 9}) for seed in (1, 2)}
    folders = {seed: served.pipeline(run) for seed, run in runs.items()}
    served.wait_for(lambda: all((folder / "model.run").exists() for folder in folders.values()))
    mine = served.run("env", f"COSMOS_DATA_ROOT={data}", "cosmos", "pretrain", "--run", "mine")
    assert mine.returncode == 0, mine.stderr
    for run in runs.values():
        assert served.wait_for_state(run, *FINAL) == "Completed", served.log(run)
    begun = [served.flow_run(run)["start_time"] for run in runs.values()]
    assert max(begun) < min(served.flow_run(run)["end_time"] for run in runs.values())
    trained = [*((folder / "model", seed, 9) for seed, folder in folders.items())]
    for folder, seed, epochs in [*trained, (served.folder / "runs" / "mine", 0, 3)]:
        params = yaml.safe_load((folder / "params.yaml").read_text())["pretrain"]
        assert (params["seed"], params["epochs"]) == (seed, epochs)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert max(line["step"] for line in lines) == 5 * epochs
    shard = "data/demo/train/shard-00000.tar"
    assert {(folder / shard).read_bytes() for folder in folders.values()} == {
        (data.parent / shard).read_bytes()
    }
    assert git(served.folder, "status", "--porcelain", "params.yaml") == ""


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_loses_nothing(served: Served, whole: str) -> None:
    asked = {"pretrain": {"seed": 3, "epochs": 30}}
    run = served.begin("pretrain/local", **asked)
    folder = served.pipeline(run)
    served.wait_for(lambda: served.steps(folder) > 5)
    os.kill(int((served.folder / ".prefect" / "server.pid").read_text().split()[0]), signal.SIGKILL)
    before = served.steps(folder)
    served.wait_for(lambda: served.steps(folder) > before + 5)
    up = served.run(*UP)
    assert "the worker runs already" in up.stdout, up.stdout + up.stderr
    assert served.wait_for_state(run, *FINAL) == "Completed", served.log(run)
    served.wait_for(
        lambda: {task["state"]["name"] for task in served.of(run, "task_runs")} == {"Completed"}, 60
    )
    again = served.begin("pretrain/local", **asked)
    assert served.wait_for_state(again, *FINAL) == "Completed", served.log(again)
    assert "Running stage" not in served.log(again)
