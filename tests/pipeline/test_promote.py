import json
import os
import shutil
import subprocess
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos.config.experiment import load_params
from cosmos.config.machine import Machine
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import parse_checkpoint_reference
from cosmos.model.checkpoints import ModelConfig
from cosmos.pipeline.promote import Artefact, promote
from cosmos.run import provenance
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.directory import RunDir, open_run
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results
from cosmos.stages.export import Publication, export_model
from tests.crash_points import killed_at_each_operation
from tests.disks import small_disk
from tests.model.examples import write_checkpoint
from tests.other_users import ALICE, GROUP, only_root_is_others
from tests.stages.examples import ROOT, TINY
from tests.workspaces import commit, dvc, git

STEPS = 15


def workspace(folder: Path) -> Path:
    """A place in git that looks like a DVC workspace."""
    (folder / ".dvc").mkdir(parents=True)
    git(folder, "init", "--quiet")
    return folder


def make_run(folder: Path, name: str = "one", epochs: float = 3.0, content: bytes = b"weights") -> RunDir:
    """A run that has come so far, with a file in the place of its checkpoint."""
    (folder / "tiny.yaml").write_text(TINY)
    run = open_run(folder / "runs" / name, load_params(str(folder / "tiny.yaml"), base=ROOT / "params.yaml"))
    metrics = MetricsWriter(run.metrics)
    step = round(epochs * 5)
    metrics.log({"step": step, "epoch": epochs, "samples": 8 * step, "loss": 2.5, "samples_per_second": 9.0})
    run.checkpoint(step).parent.mkdir(exist_ok=True)
    run.checkpoint(step).write_bytes(content)
    session = {"commit": "abc123", "diff": "", "packages": {}}
    run.provenance.write_text(json.dumps({"data": {"train": "d" * 64}, "sessions": [session]}))
    return run


def write_model(run: RunDir) -> ModelConfig:
    """A model in the place of the run's checkpoint."""
    config = ModelConfig.of(load_params(base=run.params))
    path = run.checkpoint(STEPS)
    write_checkpoint(path, config.build(), config.build(), config, name="one", epoch=3, step=STEPS)
    return config


def measure(run: RunDir, sha256: str, recall: float) -> None:
    entry = {
        "title": "held out",
        "checkpoint": "model.pt",
        "checkpoint_sha256": sha256,
        "models": {"teacher": {"image_to_text_R@1": recall}},
        "chance": {},
        "published": {},
        "note": "",
    }
    Results(run.result_file("retrieval"), "retrieval").put("heldout", entry)


def machine(folder: Path) -> Machine:
    return Machine(runs_root=folder / "runs")


def promoted(folder: Path, run: str = "one", name: str = "") -> dict[str, Any]:
    return promote(run, name, machine(folder), quiet=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace(tmp_path))
    return tmp_path


def test_a_run_that_has_not_finished_is_not_promoted(place: Path) -> None:
    make_run(place, epochs=2.0)
    with pytest.raises(ValueError, match=r"one: has trained 2 of 3 epochs.*cosmos pretrain --run one"):
        promoted(place)
    assert not (place / "models").exists()


def test_a_run_without_a_step_or_its_last_checkpoint_is_not_promoted(place: Path) -> None:
    run = make_run(place)
    run.checkpoint(STEPS).unlink()
    with pytest.raises(ValueError, match=r"step-00000015.pt: no such file"):
        promoted(place)
    run.metrics.unlink()
    with pytest.raises(ValueError, match="has trained no step"):
        promoted(place)
    with pytest.raises(ValueError, match="no run; `cosmos runs list`"):
        promoted(place, "two")


def test_a_checkpoint_with_a_flipped_bit_is_not_promoted(place: Path) -> None:
    checkpoint = make_run(place).checkpoint(STEPS)
    with zipfile.ZipFile(checkpoint, "w") as archive:
        archive.writestr("model/data.pkl", b"weights")
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"weights", b"weighty"))
    with pytest.raises(DamagedDataError, match=r"step-00000015\.pt: broken .*data\.pkl"):
        promoted(place)
    assert not (place / "models").exists()


def test_a_run_with_a_damaged_record_is_not_promoted(place: Path) -> None:
    make_run(place).provenance.write_text("{")
    with pytest.raises(DamagedDataError, match=r"provenance\.json: not a provenance .*; delete it, and"):
        promoted(place)
    assert not (place / "models" / "one").exists()


def test_a_run_with_damaged_results_is_not_promoted_and_the_file_is_named(place: Path) -> None:
    damaged = make_run(place).result_file("classification")
    damaged.parent.mkdir()
    damaged.write_text('{"datasets": {"demo": {"models": {}}}}')
    with pytest.raises(DamagedDataError, match=r"classification\.json: .*demo: no checkpoint.*; delete it"):
        promoted(place)
    assert not (place / "models" / "one").exists()


@pytest.mark.parametrize("name", ["../one", "a/b", ".hidden", "-x", "two words"])
def test_a_name_is_one_of_a_folder(place: Path, name: str) -> None:
    make_run(place)
    with pytest.raises(ValueError, match="--name"):
        promoted(place, name=name)


def test_a_name_that_is_taken_is_told_with_a_way_on(place: Path) -> None:
    make_run(place)
    other = place / "models" / "one"
    other.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no promoted model; take another --name"):
        promoted(place)
    card = {"run": "another", "checkpoint": "step-00000001.pt", "sha256": "0" * 64}
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"another model, of the run another; take another name with --name"):
        promoted(place)
    shutil.rmtree(other)
    (place / "models" / "one.dvc").write_text("outs: []\n")
    with pytest.raises(ValueError, match=r"not here.*dvc pull models/one"):
        promoted(place)


def test_of_two_runs_promoted_to_a_name_at_once_the_second_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(place)
    make_run(place, "two", content=b"others")

    def promote_another_meanwhile(folder: Path, *_: object) -> None:
        monkeypatch.setattr("cosmos.pipeline.promote.write_export", lambda *_: None)
        second.append(others.submit(promoted, place, "two", "model"))
        wait(second, timeout=1)

    second: list[Future[dict[str, Any]]] = []
    monkeypatch.setattr("cosmos.pipeline.promote.dvc_add", lambda artefact: artefact.record.touch())
    monkeypatch.setattr("cosmos.pipeline.promote.write_export", promote_another_meanwhile)
    with ThreadPoolExecutor() as others:
        promoted(place, "one", "model")
    with pytest.raises(InputError, match=r"models/model: holds another model, of the run one; take another"):
        second[0].result()
    assert (place / "models" / "model" / "model.pt").read_bytes() == b"weights"


def test_without_dvc_or_git_nothing_is_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no DVC workspace"):
        promoted(tmp_path)
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(ValueError, match="not in git"):
        promoted(tmp_path)
    assert not (tmp_path / "models").exists()


@only_root_is_others
def test_in_a_checkout_of_another_user_git_has_to_be_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path)
    (tmp_path / ".dvc").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, ALICE, GROUP)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"`git config --global --add safe.directory {tmp_path}` has it"):
        promoted(tmp_path)


@pytest.mark.slow
def test_what_is_promoted_is_versioned_with_all_that_it_came_from(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(place / ".dvc")
    assert dvc(place, "init", "--quiet").returncode == 0
    run = make_run(place, "sweep/trial-0003")
    config, checkpoint = write_model(run), run.checkpoint(STEPS)
    weights, sha256 = checkpoint.read_bytes(), provenance.file_sha256(checkpoint)
    RunLabels("sweep", "pretrain", ("cc3m",)).write(run)
    measure(run, "0" * 64, recall=0.1)  # of a checkpoint before
    made = promoted(place, "sweep/trial-0003")
    folder = place / "models" / "sweep-trial-0003"
    assert made["artefact"] == "models/sweep-trial-0003"
    assert made["suites"] == []
    record = yaml.safe_load(folder.with_suffix(".dvc").read_text())
    assert record["outs"][0]["md5"] == made["version"]
    assert (folder / "model.pt").read_bytes() == weights
    export_model(str(folder / "model.pt"), place / "exported", Publication(), machine(place), quiet=True)
    exported = {path.name: path.read_bytes() for path in (place / "exported").iterdir()}
    assert {path.name: path.read_bytes() for path in (folder / "open_clip").iterdir()} == exported
    shutil.rmtree(place / "exported")
    for file in (run.params, run.metrics, run.provenance, run.labels):
        assert (folder / file.name).read_bytes() == file.read_bytes()
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["pretrain"] == {"steps": 15, "samples": 120, "loss": 2.5, "samples_per_second": 9.0}

    assert promoted(place, "sweep/trial-0003") == made  # nothing changed

    measure(run, sha256, recall=0.5)
    promote("sweep/trial-0003", "", machine(place), quiet=False, licence="mit")
    said = capsys.readouterr().out
    assert "git add models/sweep-trial-0003.dvc models/.gitignore" in said
    assert "dvc push" in said
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["retrieval"] == {"heldout": {"teacher": {"image_to_text_R@1": 0.5}}}
    assert figures["data"]["retrieval"].keys() == {"heldout"}
    assert "| heldout | teacher | 50.0 |" in (folder / "README.md").read_text()
    assert "license: mit" in (folder / "open_clip" / "README.md").read_text()

    (place / ".gitignore").write_text("/runs\n/kept\n")
    commit(place)
    shutil.rmtree(folder)
    shutil.rmtree(place / "runs")
    found = parse_checkpoint_reference("dvc:HEAD:models/sweep-trial-0003/model.pt").fetch(place / "kept")
    assert provenance.file_sha256(found) == sha256
    assert checkpoints.read_checkpoint(found).config == config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [("size=1m", TransientError, "No space left"), ("ro", InputError, "Read-only file system")],
)
def test_a_disk_that_is_full_or_only_read_leaves_nothing_half_promoted(
    place: Path, options: str, kind: type[CosmosError], reason: str
) -> None:
    shutil.rmtree(place / ".dvc")
    assert dvc(place, "init", "--quiet").returncode == 0
    write_model(make_run(place))
    with small_disk(place / "cache", options):
        assert dvc(place, "cache", "dir", "--local", "cache").returncode == 0
        with pytest.raises(kind, match=rf"dvc add models/one` failed:\n.*{reason}"):
            promoted(place)
    assert not (place / "models").exists()


def test_a_promotion_that_is_stopped_after_dvc_has_ended_is_done_by_the_same_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmos.pipeline.promote.write_export", lambda folder, *_: (folder / "file").touch())
    write_model(make_run(place))

    def add(artefact: Artefact, stopped: bool) -> None:
        artefact.record.touch()
        if stopped:
            raise KeyboardInterrupt  # as a signal does

    for stopped in (True, False):
        monkeypatch.setattr("cosmos.pipeline.promote.dvc_add", partial(add, stopped=stopped))
        end: AbstractContextManager[object] = pytest.raises(KeyboardInterrupt) if stopped else nullcontext()
        with end:
            promoted(place)
        assert (place / "models" / "one.dvc").exists() is not stopped


@pytest.mark.slow
def test_a_promotion_that_is_killed_at_any_moment_leaves_a_whole_model_and_is_done_by_the_same_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmos.pipeline.promote.dvc_add", lambda artefact: artefact.record.touch())
    monkeypatch.setattr("cosmos.pipeline.promote.write_export", lambda folder, *_: (folder / "file").touch())
    run = make_run(place)
    promoted(place)
    models = place / "models"
    model = models / "one" / "model.pt"
    for is_new in (True, False):
        measure(run, provenance.file_sha256(model), 0.1 if is_new else 0.2)
        for _ in killed_at_each_operation(lambda: promoted(place), models):
            assert not model.exists() or model.read_bytes() == b"weights"
            assert is_new or model.exists()
            promoted(place)
            remove_abandoned(models)  # which a process does by itself when it first writes there
            assert sorted(path.name for path in models.iterdir()) == ["one", "one.dvc"]
            if is_new:
                shutil.rmtree(model.parent)
                (models / "one.dvc").unlink()
