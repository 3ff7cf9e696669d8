"""Verification of datasets, runs and sweeps, each file of which is damaged in turn."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.data.preparation import prepare_dataset
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.evaluation.embedding_cache import CacheFolder
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsWriter
from cosmos.run.model_card import ModelCard
from cosmos.run.provenance import file_sha256
from cosmos.run.sole_writer import sole_writer
from cosmos.run.sweep_directory import RungResult, SweepDir, TrialRecord
from cosmos.stages.verify import Verification, raise_problems, verify
from cosmos.tracking.note import MirrorNote
from tests.data.examples import flickr8k, flip_bit
from tests.data.examples import machine as data_machine
from tests.registry.run_files import make_run, measure, submit, take_part


def add_run(path: Path) -> RunDir:
    """Write a run that has every record."""
    run = make_run(path)
    weights = {"weight": torch.ones(100, 10)}
    torch.save({"student": weights, "teacher": weights}, run.checkpoint(15))
    RunLabels(tags=("a",)).write(run)
    MirrorNote("id").write(run)
    Lease.take(run)
    measure(run, 0.5)
    take_part(run, "finished")
    submit(run)
    run.evaluations.mkdir()
    shutil.copyfile(run.job, run.evaluation_job)
    shutil.copyfile(run.checkpoint(15), run.evaluations / "step-00000010.pt")
    run.data.write_text('{"num_samples": 6, "left_out": []}')
    CacheFolder(run.embeddings / "model").add("photos", ["a"], torch.zeros(1, 2))
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    prepare_dataset(flickr8k(folder, num_heldout=2), data_machine(folder), processes=1)
    add_run(folder / "runs" / "mine")
    add_run(folder / "runs" / "sweep-1a2b" / "trial-0000")
    shutil.copyfile(Path(__file__).parents[2] / "experiments" / "sweeps" / "demo.yaml", folder / "sweep.yaml")
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "place")


def machine(place: Path) -> Machine:
    return data_machine(place, runs_root=place / "runs")


def verified(place: Path, name: str) -> Verification:
    [verification] = verify([name], machine(place), quiet=True)
    return verification


def test_what_is_whole_is_told_with_its_size(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(["things", "mine"], machine(place))
    assert [(item.kind, item.problems) for item in found] == [("dataset", ()), ("run", ())]
    assert found[0].num_files == 2 + 1 + 2 * 2 + 1 + 2
    assert found[0].num_bytes > sum(path.stat().st_size for path in place.glob("data/things/*/*.tar"))
    raise_problems(found)
    assert "things dataset" in " ".join(capsys.readouterr().out.split())


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def nest(file: Path) -> None:
    file.write_text("[" * 100_000)


FILES = [
    *("data/things/params.json", "data/things/source.json", "data/things/heldout/manifest.json"),
    *("data/things/train/shard-00001.tar", "data/things/train/shard-00001.idx.npz"),
    *(
        f"runs/mine/{name}.json"
        for name in ("provenance", "labels", "wandb", "writer", "trial", "job", "data")
    ),
    *("runs/mine/params.yaml", "runs/mine/results/retrieval.json", "runs/mine/checkpoints/step-00000015.pt"),
    *("runs/mine/evaluations/submission.json", "runs/mine/evaluations/step-00000010.pt"),
]


@pytest.mark.parametrize("damage", [cut, nest])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_told_in_a_line_that_names_it(
    place: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(place / file)
    found = verified(place, file.split("/")[1])
    assert found.state == "1 damaged"
    [problem] = found.problems
    assert Path(file).name in problem
    assert len(problem.splitlines()) == 1


@pytest.mark.parametrize(
    "file", ["data/things/heldout/shard-00000.tar", "runs/mine/checkpoints/step-00000015.pt"]
)
def test_a_flipped_bit_is_damage(place: Path, file: str) -> None:
    flip_bit(place / file, 2000)
    assert verified(place, file.split("/")[1]).state == "1 damaged"


@pytest.mark.parametrize(
    "file",
    [
        "runs/mine/checkpoints/step-00000015.pt",
        "runs/mine/embeddings",
        "data/things/train/shard-00001.idx.npz",
    ],
)
@pytest.mark.parametrize("count", [1, 4096])
def test_bytes_after_the_end_of_an_archive_are_damage(place: Path, file: str, count: int) -> None:
    path = place / file
    (archive,) = path.rglob("*.npz") if path.is_dir() else [path]
    archive.write_bytes(archive.read_bytes() + bytes(count))
    [problem] = verified(place, file.split("/")[1]).problems
    assert f"{archive}: other bytes follow its end" in problem


def test_kept_embeddings_and_lines_of_metrics_are_checked(place: Path) -> None:
    run = RunDir(place / "runs" / "mine")
    (part,) = run.embeddings.rglob("*.npz")
    flip_bit(part, -part.stat().st_size // 2)
    with run.metrics.open("a") as file:
        file.write("null\n\n")
    metrics, embeddings = verified(place, "mine").problems
    assert "metrics.jsonl: damaged lines: 1, from line 2 on" in metrics
    assert str(part) in embeddings


def test_a_run_without_all_of_its_parameters_is_not_whole(place: Path) -> None:
    params = place / "runs" / "mine" / "params.yaml"
    for end in (0, params.read_text().index("evaluate:"), -3):
        whole = params.read_text()
        params.write_text(whole[:end])
        assert "params.yaml: cut short" in verified(place, "mine").problems[0]
        params.write_text(whole)
    params.unlink()
    assert "params.yaml: no such file; put it back" in verified(place, "mine").problems[0]


def test_a_trial_that_is_about_to_begin_has_no_parameters_yet(place: Path) -> None:
    trial = RunDir(place / "runs" / "sweep-1a2b" / "trial-0001")
    trial.path.mkdir()
    for record in (RunLabels("sweep-1a2b"), TrialRecord("sweep-1a2b", 1, 0, {})):
        record.write(trial)
        assert not any("trial-0001" in problem for problem in verified(place, "sweep-1a2b").problems)
    trial.metrics.touch()
    assert any("trial-0001/params.yaml: no such file" in p for p in verified(place, "sweep-1a2b").problems)


def test_a_run_that_was_trained_to_its_end_has_the_checkpoint_of_that(place: Path) -> None:
    run = RunDir(place / "runs" / "sweep-1a2b" / "trial-0000")
    run.checkpoint(10).write_bytes(run.checkpoint(15).read_bytes())
    for older in (run.checkpoint(10), None):
        assert verified(place, "sweep-1a2b/trial-0000").state == "whole"
        run.checkpoint(15).rename(place / "away.pt")
        [problem] = verified(place, "sweep-1a2b/trial-0000").problems
        assert "step-00000015.pt: missing, though the run was trained to its end" in problem
        (place / "away.pt").rename(run.checkpoint(15))
        if older:
            older.unlink()


def test_a_model_that_is_a_copy_of_a_run_has_its_checkpoint_beside_its_card(place: Path) -> None:
    run, model = RunDir(place / "runs" / "mine"), place / "model"
    model.mkdir()
    for path in (run.params, run.metrics, run.checkpoint(15)):
        shutil.copy(path, model)
    checkpoint = model / run.checkpoint(15).name
    ModelCard("mine", checkpoint.name, file_sha256(checkpoint)).write(model)
    assert verified(place, str(model)).problems == ()
    checkpoint.unlink()
    [problem] = verified(place, str(model)).problems
    assert "the checkpoint that card.json is of is missing" in problem
    assert "dvc checkout" in problem


def test_a_paused_trial_has_the_checkpoint_of_its_rung(place: Path) -> None:
    run = make_run(place / "runs" / "paused", epochs=1.4)  # the last line that was due before the rung
    rung = RungResult(epochs=2, total_epochs=3, values={})
    record = TrialRecord("small-1a2b3c4d", 0, 0, {}, "paused", rungs=(rung,))
    record.write(run)
    run.checkpoint(7).unlink()
    shutil.copyfile(RunDir(place / "runs" / "mine").checkpoint(15), run.checkpoint(10))
    assert verified(place, "paused").state == "whole"
    run.checkpoint(10).unlink()
    [problem] = verified(place, "paused").problems
    assert "step-00000010.pt: missing, though the run was trained to its rung" in problem


def test_figures_that_were_measured_late_do_not_hide_that_a_run_was_trained_to_its_end(place: Path) -> None:
    run = RunDir(place / "runs" / "mine")
    MetricsWriter(run.metrics, 15).log({"step": 10, "epoch": 2.0, "evaluation": {"a": 0.5}})
    run.checkpoint(15).unlink()
    [problem] = verified(place, "mine").problems
    assert "step-00000015.pt: missing, though the run was trained to its end" in problem


def test_a_run_that_is_not_at_its_end_may_have_no_checkpoint_yet(place: Path) -> None:
    run = make_run(place / "runs" / "begun", epochs=2)
    run.checkpoint(10).unlink()
    assert verified(place, "begun").state == "whole"


def test_a_dataset_that_is_being_prepared_is_not_called_damaged(place: Path) -> None:
    shutil.rmtree(place / "data" / "things" / "train")
    with sole_writer(place / "data" / "things" / ".preparing", "is being prepared"):
        prepared = verified(place, "things")
    assert prepared.problems == ()
    assert (
        "things: is being prepared, or that was killed: `cosmos prepare` completes it" in prepared.unread[0]
    )
    assert "train/manifest.json" in verified(place, "things").problems[0]


def test_a_name_of_a_dataset_and_a_run_stands_for_both_and_a_path_for_itself(place: Path) -> None:
    (place / "runs" / "mine").rename(place / "runs" / "things")
    both = verify(["things"], machine(place), quiet=True)
    assert [item.kind for item in both] == ["dataset", "run"]
    path = place / "runs" / "things"
    assert [(item.kind, item.path) for item in verify([str(path)], machine(place), quiet=True)] == [
        ("run", str(path))
    ]


def test_a_folder_of_a_sweep_stands_for_its_trials(place: Path) -> None:
    shutil.move(place / "sweep.yaml", place / "runs" / "sweep-1a2b" / "sweep.yaml")
    cut(place / "runs" / "sweep-1a2b" / "trial-0000" / "provenance.json")
    found = verified(place, "sweep")
    assert found.kind == "sweep"
    assert any("trial-0000/provenance.json" in problem for problem in found.problems)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, None])
def test_a_sweep_is_known_by_a_definition_that_cannot_be_read_and_by_its_trials(
    place: Path, make: Callable[[Path], None] | None
) -> None:
    sweep = SweepDir(place / "runs" / "sweep-1a2b")
    trial = TrialRecord("sweep-1a2b", 0, 0, {})
    trial.write(sweep.run(trial))
    if make:
        make(sweep.definition)
    (place / "runs" / "sweep-1a2b" / "provenance.json").touch()
    for name in ("sweep", "sweep-1a2b"):
        verification = verified(place, name)
        assert verification.kind == "sweep"
        assert any("sweep.yaml" in problem for problem in verification.problems)


def test_an_unknown_name_is_the_users_and_damage_is_told_from_a_failing_disk(place: Path) -> None:
    with pytest.raises(InputError, match="mime: no dataset, run or sweep; near it: mine"):
        verify(["mine", "mime"], machine(place))
    damaged = Verification("a", "run", "runs/a", 3, 10, ("a: cut",), ("b: Input/output error",))
    with pytest.raises(DamagedDataError, match="a: 1 of 3 files are damaged"):
        raise_problems([damaged])
    unread = Verification("a", "run", "runs/a", 3, 10, (), ("b: Input/output error",))
    with pytest.raises(
        TransientError, match="a: 1 of 3 files could not be read; mend what is named, and try again"
    ):
        raise_problems([unread])


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    place: Path, monkeypatch: pytest.MonkeyPatch, file: str, number: int
) -> None:
    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def fail(path: Any, *arguments: Any, **options: Any) -> Any:
            if path == place / file:
                raise OSError(number, os.strerror(number), str(path))
            return call(path, *arguments, **options)

        return fail

    monkeypatch.setattr(Path, "open", failing(Path.open))
    monkeypatch.setattr(os, "open", failing(os.open))
    found = verified(place, "things" if file.startswith("data") else "mine")
    assert found.problems == ()
    assert all(Path(file).name in line for line in found.unread)
    with pytest.raises(TransientError, match=r"files could not be read; mend what is named"):
        raise_problems([found])


def test_a_folder_that_cannot_be_listed_is_named_and_the_rest_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, listdir, hidden = verified(place, "mine"), os.listdir, place / "runs" / "mine" / "embeddings"

    def fail(path: Any) -> list[str]:
        if Path(path) == hidden:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", fail)
    found = verified(place, "mine")
    assert (found.problems, found.num_files) == ((), whole.num_files)
    assert found.unread == (
        f"{hidden}: cannot be listed (Permission denied); change the permissions, or name another place",
    )


@pytest.mark.parametrize("name", ["checkpoints/step-00000015.pt", "labels.json", "metrics.jsonl"])
def test_a_link_that_leads_nowhere_is_no_file(place: Path, name: str) -> None:
    path = place / "runs" / "mine" / name
    path.unlink()
    path.symlink_to(path.name)
    [problem] = verified(place, "mine").problems
    assert str(path) in problem
