"""Data that a checkpoint is evaluated on, and the run that its results go to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos.config.experiment import Experiment
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.sample import Sample
from cosmos.run.directory import RunDir
from cosmos.run.model_card import ModelCard
from cosmos.run.provenance import file_sha256
from cosmos.run.results import Results, results_of_checkpoint
from cosmos.stages.checkpoint_origin import on_own_data, run_of_results
from cosmos.stages.evaluate import evaluate
from cosmos.stages.evaluate_sweep import evaluate_many
from tests.evaluation.examples import image_bytes, write_split
from tests.other_users import BOB, acting_as, only_root_is_others, shared_folder
from tests.stages.colours import experiment, here, make_place, params, write_run

R1 = "image_to_text_R@1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two datasets, `colours` and `mine`, whose held-out splits differ; and a run that `mine` trained."""
    make_place(tmp_path)
    for split, colours in (("heldout", ["red", "blue"]), ("train", ["green"])):
        prepare(tmp_path, split, *colours)
    record_training(tmp_path)
    return tmp_path


def prepare(folder: Path, split: str, *colours: str) -> Path:
    """A split of the dataset `mine`."""
    path = folder / "data" / "mine" / split
    shutil.rmtree(path, ignore_errors=True)
    write_split(path, [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in colours])
    return path / "manifest.json"


def record_training(folder: Path) -> None:
    """What a pretraining on the dataset `mine` leaves in its run."""
    run = RunDir(folder / "runs" / "tiny")
    values = params().model_copy(update={"data": DataParams(name="mine", max_pixels=1_000_000)})
    run.params.write_text(yaml.safe_dump(values.model_dump(mode="json")))
    run.metrics.write_text("")
    manifest = folder / "data" / "mine" / "train" / "manifest.json"
    run.provenance.write_text(json.dumps({"data": {"train": file_sha256(manifest)}, "sessions": []}))


def measured(folder: Path, wanted: Experiment) -> dict[str, Any]:
    """Evaluates the run of `place` by retrieval, and returns the entries of its results."""
    path = folder / "runs" / "tiny"
    evaluate(["retrieval"], wanted.params, here(folder), path, "", quiet=True).raise_problems()
    return Results(RunDir(path).result_file("retrieval"), "retrieval").entries()


def on_own(folder: Path, given: dict[str, Any] | None = None, checkpoint: str = "") -> Experiment:
    return on_own_data(experiment(), RunDir(folder / "runs" / "tiny"), checkpoint, given)


class TestDataset:
    """Dataset that a checkpoint is measured on."""

    def test_it_is_that_of_the_training_unless_another_is_named(self, place: Path) -> None:
        own = on_own(place).params
        assert (own.data.name, own.data.max_pixels) == ("mine", 1_000_000)
        assert own.evaluate == experiment().params.evaluate
        assert on_own(place, {"max_pixels": 7}).params.data.model_dump(include={"name", "max_pixels"}) == {
            "name": "mine",
            "max_pixels": 7,
        }
        assert on_own(place, {"name": "colours"}) == experiment()

    def test_a_copy_that_dvc_keeps_is_measured_on_it_too(self, place: Path) -> None:
        run, copy = RunDir(place / "runs" / "tiny"), place / "models" / "one"
        copy.mkdir(parents=True)
        for file in (run.params, run.metrics, *run.saved_checkpoints):
            shutil.copyfile(file, copy / file.name)
        checkpoint = copy / run.saved_checkpoints[0].name
        elsewhere = RunDir(place / "runs" / "elsewhere")
        assert on_own_data(experiment(), elsewhere, str(checkpoint)).params.data.name == "mine"

    def test_the_parameters_of_a_project_are_no_record_of_a_training(self, place: Path) -> None:
        (place / "params.yaml").write_text("experiment: clip\n")
        shutil.copyfile(RunDir(place / "runs" / "tiny").saved_checkpoints[0], place / "best.pt")
        elsewhere = RunDir(place / "runs" / "elsewhere")
        assert on_own_data(experiment(), elsewhere, str(place / "best.pt")) == experiment()
        assert on_own_data(experiment(), elsewhere, "published:cosmos_vitb16_cc3m") == experiment()


class TestResults:
    """Results of a run that is measured on several datasets of one name."""

    def test_other_data_overwrites_no_figures_of_the_runs_own(self, place: Path) -> None:
        before = measured(place, on_own(place))
        assert (before["heldout"]["num_images"], before["heldout"]["own_data"]) == (2, True)
        after = measured(place, on_own(place, {"name": "colours"}))
        other = after["heldout"]["data_hash"]
        assert after["heldout"] == before["heldout"]
        manifest = place / "data" / "mine" / "heldout" / "manifest.json"
        assert other == file_sha256(manifest)
        (label,) = after.keys() - {"heldout"}
        assert after[label]["num_images"] == 5
        assert label == f"heldout@{after[label]['data_hash'][:8]}"

    def test_checkpoints_of_one_label_have_runs_of_their_own(self, tmp_path: Path) -> None:
        machine = Machine(runs_root=tmp_path)
        for name in ("a/b.pt", "a-b.pt"):
            path, _ = run_of_results(name, machine)
            entry: dict[str, Any] = {"models": {}, "checkpoint": name, "checkpoint_sha256": "", "data": {}}
            results_of_checkpoint(RunDir(path), "retrieval", name).put("coco", entry)
        (plain, _), (other, _) = (run_of_results(name, machine) for name in ("a/b.pt", "a-b.pt"))
        assert plain == tmp_path / "a-b.pt"
        for path, name in ((plain, "a/b.pt"), (other, "a-b.pt")):
            results = Results(RunDir(path).result_file("retrieval"), "retrieval")
            assert [entry["checkpoint"] for entry in results.entries().values()] == [name]

    def test_a_sweep_of_evaluations_measures_each_run_on_its_own_data(self, place: Path) -> None:
        write_run(place / "runs" / "second", seed=1)
        rows = evaluate_many(["tiny", "second"], ["retrieval"], experiment(), here(place), print)
        hashes = {row.checkpoint: row.data_hash for row in rows}
        assert hashes == {
            "tiny": file_sha256(place / "data" / "mine" / "heldout" / "manifest.json"),
            "second": file_sha256(place / "data" / "colours" / "heldout" / "manifest.json"),
        }

    def test_of_a_checkpoint_without_records_the_data_is_named(
        self, place: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (place / "runs" / "tiny" / "provenance.json").unlink()
        measured(place, on_own(place))
        assert "heldout of mine: the checkpoint does not say what it was trained on" in caplog.text

    def test_data_that_was_prepared_again_since_is_another(
        self, place: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trained_on = file_sha256(place / "data" / "mine" / "train" / "manifest.json")
        prepared = file_sha256(prepare(place, "train", "green", "yellow"))
        entry = measured(place, on_own(place))["heldout"]
        note = (
            f"of other data than the run's own: its training split has 2 samples (manifest {prepared[:8]}), "
            f"the run was trained on manifest {trained_on[:8]}"
        )
        assert (entry["own_data"], entry["note"]) == (False, note)
        assert f"heldout of mine: {note}" in caplog.text
        assert note in (place / "runs" / "tiny" / "results" / "retrieval.md").read_text().replace("\\", "")

    def test_data_that_is_gone_is_named_with_what_brings_it_back(self, place: Path) -> None:
        shutil.rmtree(place / "data" / "mine")
        with pytest.raises(ValueError, match=r"mine/heldout/manifest\.json: no such file.*--data"):
            measured(place, on_own(place))


class TestRun:
    """Run that the results of a checkpoint's file go to."""

    def keep(self, place: Path, run: str = "tiny") -> Path:
        """A copy of the run's checkpoint, as the pipeline keeps it."""
        checkpoint, copy = RunDir(place / "runs" / "tiny").saved_checkpoints[0], place / "pipeline" / "model"
        copy.mkdir(parents=True)
        shutil.copyfile(checkpoint, copy / "checkpoint.pt")
        ModelCard(run, checkpoint.name, file_sha256(checkpoint)).write(copy)
        return copy / "checkpoint.pt"

    def test_a_copy_of_a_runs_newest_checkpoint_is_measured_in_the_run(self, place: Path) -> None:
        copy, machine = self.keep(place), here(place)
        assert run_of_results(str(copy), machine) == (place / "runs" / "tiny", "")
        (newest,) = RunDir(place / "runs" / "tiny").saved_checkpoints
        assert run_of_results(str(newest), machine) == (place / "runs" / "tiny", "")

    def test_a_copy_of_another_checkpoint_of_that_name_is_not(self, place: Path) -> None:
        copy, machine = self.keep(place), here(place)
        write_run(place / "runs" / "tiny", seed=1)
        path, checkpoint = run_of_results(str(copy), machine)
        assert (path.parent, checkpoint) == (place / "runs", str(copy))
        assert path.name.endswith("pipeline-model-checkpoint.pt")

    @only_root_is_others
    def test_of_a_colleagues_run_that_can_only_be_read_they_are_ones_own(self, place: Path) -> None:
        with shared_folder() as shared:
            shutil.copytree(place / "runs" / "tiny", shared / "theirs" / "tiny")
            (newest,) = RunDir(shared / "theirs" / "tiny").saved_checkpoints
            with acting_as(BOB):
                path, checkpoint = run_of_results(str(newest), Machine(runs_root=shared / "ours"))
            assert (path.parent, checkpoint) == (shared / "ours", str(newest))

    @pytest.mark.parametrize("content", ["{", "[]", '{"run": "gone", "checkpoint": "x", "sha256": "y"}'])
    def test_neither_is_a_file_beside_another_card(self, place: Path, content: str) -> None:
        copy = self.keep(place)
        (copy.parent / "card.json").write_text(content)
        assert run_of_results(str(copy), here(place))[1] == str(copy)
        published = "published:cosmos_vitb16_cc3m"
        assert run_of_results(published, here(place))[1] == published
