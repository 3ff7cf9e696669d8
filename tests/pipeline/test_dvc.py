"""Driving the pipeline: parameters for a while, DVC's stages, interruptions."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cosmos.config.experiment import load_experiment
from cosmos.config.job_request import JobRequest
from cosmos.errors import TransientError
from cosmos.pipeline.dvc import (
    StageFailedError,
    edit_yaml,
    machine_environment,
    parameters_in_force,
    reproduce,
)

ROOT = Path(__file__).parent.parent.parent
PARAMS = """# all of it
experiment: ""   # in force
overrides: {}
pretrain:   # optimisation
  epochs: 3   # passes
  seed: 0
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A DVC repository with a stage that prints, one that fails, and one that takes long."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text("""
stages:
  speak: {cmd: 'echo "on $COSMOS_CLUSTER"; sleep 0.1; touch spoken', outs: [spoken]}
  fail: {cmd: 'echo "cosmos: the network is down"; exit 74', outs: [failed]}
  mistake: {cmd: 'echo "cosmos: no such key"; exit 1', outs: [mistaken]}
  last: {cmd: 'trap "touch saved; exit 75" INT; echo begun; sleep 60 & wait', outs: [never]}
""")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def ignore(*_: object) -> None:
    pass


def run(workspace: Path, stage: str) -> list[str]:
    lines = list[str]()
    reproduce(workspace, stage, {"COSMOS_CLUSTER": "debug"}, lines.append, ignore)
    return lines


def test_parameters_are_in_force_for_a_while_with_comments_and_all(workspace: Path) -> None:
    with parameters_in_force(workspace, "", {"pretrain": {"epochs": 5}}) as experiment:
        inside = (workspace / "params.yaml").read_text()
        assert experiment.params.pretrain.epochs == 5
        assert load_experiment("", base=workspace / "params.yaml") == experiment
    assert inside == PARAMS.replace("overrides: {}", "overrides:\n  pretrain:\n    epochs: 5")
    assert (workspace / "params.yaml").read_text() == PARAMS


@pytest.mark.parametrize("asked", ["", "other"])
def test_they_win_over_the_overlay_in_force_and_what_stages_read_is_what_was_promised(
    workspace: Path, asked: str
) -> None:
    text = PARAMS.replace('""', str(workspace / "tiny")).replace("{}", "{pretrain: {epochs: 6, seed: 5}}")
    (workspace / "params.yaml").write_text(text)
    (workspace / "tiny.yaml").write_text("pretrain: {epochs: 1, batch_size: 8}")
    (workspace / "other.yaml").write_text("pretrain: {epochs: 2}")
    name = str(workspace / asked) if asked else ""
    with parameters_in_force(workspace, name, {"pretrain": {"epochs": 9}}) as promised:
        assert load_experiment("", base=workspace / "params.yaml") == promised
    found = promised.params.pretrain
    assert (found.epochs, found.seed, found.batch_size) == ((9, 0, 32) if asked else (9, 5, 8))
    assert (workspace / "params.yaml").read_text() == text


def test_parameters_of_a_process_that_was_killed_are_put_back_the_next_time(workspace: Path) -> None:
    code = f"""
import os
from pathlib import Path
from cosmos.errors import TransientError
from cosmos.pipeline.dvc import parameters_in_force
with parameters_in_force(Path({str(workspace)!r}), "", {{"pretrain": {{"seed": 7}}}}):
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert load_experiment("", base=workspace / "params.yaml").params.pretrain.seed == 7
    with parameters_in_force(workspace, "", {"pretrain": {"epochs": 5}}) as experiment:
        assert (experiment.params.pretrain.seed, experiment.params.pretrain.epochs) == (0, 5)
    assert (workspace / "params.yaml").read_text() == PARAMS


def test_an_edit_in_the_meantime_is_kept_and_so_is_what_was_there_before(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with parameters_in_force(workspace, "", {"pretrain": {"epochs": 5}}):
        (workspace / "params.yaml").write_text("pretrain: {epochs: 8}\n")
    assert (workspace / "params.yaml").read_text() == "pretrain: {epochs: 8}\n"
    assert "params.yaml was edited while" in caplog.text
    assert (workspace / ".dvc" / "tmp" / "params-kept.yaml").read_text() == PARAMS
    with parameters_in_force(workspace, "", {}) as experiment:
        assert experiment.params.pretrain.epochs == 8


def test_wrong_parameters_are_refused_and_change_nothing(workspace: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"pretrain\.epochs: .* greater than 0"),
        parameters_in_force(workspace, "", {"pretrain": {"epochs": 0}}),
    ):
        pass
    assert (workspace / "params.yaml").read_text() == PARAMS


def test_one_run_has_the_workspace_at_a_time(workspace: Path) -> None:
    order = list[str]()

    def second() -> None:
        with parameters_in_force(workspace, "", {"pretrain": {"seed": 2}}):
            order.append("second")

    with parameters_in_force(workspace, "", {"pretrain": {"seed": 1}}):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@given(st.dictionaries(st.sampled_from(["experiment", "overrides", "loss"]), st.integers(1, 9)))
def test_editing_sets_the_keys_that_are_given_and_no_other(values: dict[str, int]) -> None:
    assert yaml.safe_load(edit_yaml(PARAMS, values)) == {**yaml.safe_load(PARAMS), **values}


def test_only_what_was_said_of_jobs_is_set() -> None:
    assert machine_environment("slurm", JobRequest()) == {"COSMOS_CLUSTER": "slurm"}
    request = JobRequest(nodes=2, partition="gpu", setup=("module load cuda",))
    assert machine_environment("slurm", request) == {
        "COSMOS_CLUSTER": "slurm",
        "COSMOS_SLURM__NODES": "2",
        "COSMOS_SLURM__PARTITION": "gpu",
        "COSMOS_SLURM__SETUP": '["module load cuda"]',
    }


def test_a_stage_runs_with_its_settings_and_is_skipped_the_second_time(workspace: Path) -> None:
    assert "on debug" in run(workspace, "speak")
    assert "Stage 'speak' didn't change, skipping" in run(workspace, "speak")


def test_a_failure_tells_what_was_said_and_whether_a_second_try_may_help(workspace: Path) -> None:
    with pytest.raises(StageFailedError, match="the network is down") as failure:
        run(workspace, "fail")
    assert (failure.value.status, isinstance(failure.value, TransientError)) == (74, True)
    with pytest.raises(StageFailedError, match="no such key") as failure:
        run(workspace, "mistake")
    assert (failure.value.status, isinstance(failure.value, TransientError)) == (1, False)


def test_a_failure_of_dvc_itself_has_no_status(workspace: Path) -> None:
    with pytest.raises(StageFailedError, match="no-such-stage") as failure:
        run(workspace, "no-such-stage")
    assert (failure.value.status, isinstance(failure.value, TransientError)) == (0, False)


def test_an_interruption_reaches_the_command_as_ctrl_c_and_is_waited_for(workspace: Path) -> None:
    def stop(line: str) -> None:
        if line == "begun":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(workspace, "last", {}, stop, ignore)
    assert (workspace / "saved").exists()


def test_whoever_comes_next_waits_for_dvc_when_its_starter_is_killed(workspace: Path) -> None:
    code = f"""
from pathlib import Path
from cosmos.errors import TransientError
from cosmos.pipeline.dvc import parameters_in_force, reproduce
root = Path({str(workspace)!r})
with parameters_in_force(root, "", {{}}):
    reproduce(root, "last", {{}}, lambda line: print(line, flush=True), lambda: None)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    while starter.stdout.readline() != "begun\n":
        pass
    starter.kill()
    starter.wait()
    (dvc,) = [pid for pid in processes() if f"repro{chr(0)}last" in pid[1]]
    begun = time.monotonic()
    threading.Timer(1.0, lambda: os.killpg(dvc[0], signal.SIGINT)).start()
    with parameters_in_force(workspace, "", {}):
        assert time.monotonic() - begun > 1
    assert (workspace / "saved").exists()


def processes() -> list[tuple[int, str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((int(path.parent.name), path.read_text()))
        except (OSError, UnicodeDecodeError):
            continue
    return found
