"""An untrained model of a few numbers, on pictures of one colour."""

import errno
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from filelock import lock_descriptor
from PIL import Image

from cosmos.config.disk_reading import open_regular
from cosmos.errors import CosmosError, TransientError
from cosmos.evaluation.value_file import read_image_values
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.report.published import published_figures
from cosmos.run import directory, provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import write_text
from cosmos.run.results import image_values_path, overall_figures
from cosmos.stages.evaluate import evaluate
from cosmos.stages.evaluation_result import EvaluationResult, figures_published_of
from tests.evaluation.examples import COLOURS, write_images
from tests.forks import run_ranks
from tests.model.examples import write_checkpoint
from tests.stages.colours import here, make_place, params, write_flags, write_run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def run(folder: Path, *suites: str, checkpoint: str = "", **evaluate_params: Any) -> EvaluationResult:
    """Evaluates the run of `place`."""
    path = folder / "runs" / "tiny"
    return evaluate(suites, params(**evaluate_params), here(folder), path, checkpoint, quiet=True)


def saved(folder: Path, suite: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "runs" / "tiny" / "results" / f"{suite}.json").read_text())
    return content


def test_every_suite_that_is_named_writes_its_results_and_a_table(place: Path) -> None:
    outcome = run(place, "retrieval", "classification")
    assert outcome.problems == []
    entry = outcome.results["classification"]["colours"]
    assert (entry["num_images"], entry["num_classes"]) == (5, 5)
    assert entry["models"].keys() == {"student", "teacher"}
    assert entry["chance"]["top1"] == pytest.approx(0.2)
    assert saved(place, "classification")["datasets"] == outcome.results["classification"]
    table = (place / "runs" / "tiny" / "results" / "retrieval.md").read_text()
    assert "heldout" in table
    assert "teacher" in table


def test_figures_name_checkpoint_data_and_code(place: Path) -> None:
    entry = run(place, "retrieval").results["retrieval"]["heldout"]
    assert entry["checkpoint"].endswith("step-00000003.pt")
    assert len(entry["checkpoint_sha256"]) == 64
    assert [Path(source).name for source in entry["data"]] == ["manifest.json"]
    assert entry["code_version"]


def test_shares_have_intervals_and_the_values_of_images_that_they_are_means_of(place: Path) -> None:
    outcome = run(place, "retrieval", "classification", "segmentation", segmentation=write_flags(place))
    results = place / "runs" / "tiny" / "results"
    for suite, dataset in (
        ("retrieval", "heldout"),
        ("classification", "colours"),
        ("segmentation", "flags"),
    ):
        entry = outcome.results[suite][dataset]
        for model, figures in entry["models"].items():
            shares = {name for name in overall_figures(figures) if not name.endswith(("rank", "ties"))}
            assert entry["intervals"][model].keys() == shares
            named = dataset, entry["data_hash"], model
            values = read_image_values(image_values_path(results / f"{suite}.json", *named))
            for name in shares:
                low, high = entry["intervals"][model][name]
                assert low <= figures[name] <= high
                assert high > low
                assert np.nanmean(values.by_metric[name]) == pytest.approx(figures[name], abs=1e-6)


def test_values_of_images_that_are_lost_are_measured_again(place: Path) -> None:
    before = run(place, "classification")
    files = {path: path.read_bytes() for path in RunDir(place / "runs" / "tiny").image_value_files}
    assert len(files) == 2
    next(iter(files)).unlink()
    assert run(place, "classification") == before
    assert {path: path.read_bytes() for path in files} == files


def test_student_and_teacher_are_measured_apart_and_one_can_be_left_out(place: Path) -> None:
    both = run(place, "classification").results["classification"]["colours"]["models"]
    student = run(place, "classification", models=["student"]).results["classification"]["colours"]["models"]
    assert both["student"] != both["teacher"]
    assert student["student"] == both["student"]


def test_models_that_an_evaluation_before_asked_for_stay_in_the_file_alone(place: Path) -> None:
    run(place, "classification", models=["teacher"])
    both = run(place, "classification").results["classification"]["colours"]["models"]
    student = run(place, "classification", models=["student"]).results["classification"]["colours"]
    assert list(both) == ["student", "teacher"]
    assert student["models"].keys() == {"student"}
    assert saved(place, "classification")["datasets"]["colours"]["models"] == both


def test_evaluations_of_one_run_at_once_lose_nothing_of_each_other(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_teacher_meanwhile(*_: object) -> None:
        monkeypatch.undo()
        run(place, "classification", models=["teacher"])

    monkeypatch.setattr("cosmos.stages.evaluate.save_segmentation_sheet", measure_teacher_meanwhile)
    run(place, "classification", models=["student"])
    assert saved(place, "classification")["datasets"]["colours"]["models"].keys() == {"student", "teacher"}


def test_no_evaluation_of_the_run_writes_figures_between_the_reading_of_a_table_and_its_writing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_once_others_would_wait(path: Path, text: str) -> None:
        with path.parents[1].joinpath("results.lock").open("a") as file:
            assert not lock_descriptor(file.fileno(), blocking=False)
        write_text(path, text)

    monkeypatch.setattr("cosmos.stages.evaluate.write_text", write_once_others_would_wait)
    run(place, "classification")


def test_figures_name_the_code_that_measured_them_not_the_one_that_found_them(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(place, "retrieval")
    monkeypatch.setattr(provenance, "code_version", lambda: "a later commit")
    assert run(place, "retrieval") == before
    assert (
        run(place, "classification").results["classification"]["colours"]["code_version"] == "a later commit"
    )


def test_a_dataset_that_is_missing_is_told_and_keeps_no_other_from_being_measured(place: Path) -> None:
    outcome = run(place, "classification", "retrieval", classification={"datasets": ["none", "colours"]})
    assert outcome.results.keys() == {"classification", "retrieval"}
    assert outcome.results["classification"].keys() == {"colours"}
    assert len(outcome.problems) == 1
    assert "classification on none" in outcome.problems[0]


def test_without_any_dataset_nothing_is_computed(place: Path) -> None:
    with pytest.raises(ValueError, match=r"classification on none: .*nowhere"):
        run(place, "classification", classification={"datasets": ["none"]})
    assert not (place / "runs" / "tiny" / "embeddings").exists()


def test_a_failure_keeps_the_results_of_what_was_finished(place: Path) -> None:
    (place / "classes" / "red" / "2.png").write_bytes(b"not an image")
    outcome = run(place, "retrieval", "classification")
    assert outcome.results.keys() == {"retrieval"}
    assert "red/2.png: image cannot be decoded" in outcome.problems[0]
    assert "heldout" in saved(place, "retrieval")["datasets"]


def test_a_disk_that_fails_keeps_no_other_dataset_back_and_ends_in_an_error_to_repeat(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> AbstractContextManager[BinaryIO]:
        if path.parts[-2:] == ("red", "1.png"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return open_regular(path)

    monkeypatch.setattr("cosmos.evaluation.images.open_regular", fail)
    outcome = run(place, "retrieval", "classification")
    assert outcome.results.keys() == {"retrieval"}
    assert "red/1.png: cannot be read: Input/output error" in outcome.problems[0]
    with pytest.raises(TransientError, match="not everything was measured"):
        outcome.raise_problems()


def test_a_dataset_that_a_failing_disk_keeps_closed_is_to_be_opened_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(folder))

    monkeypatch.setattr("cosmos.evaluation.classification.sets.read_class_folders", fail)
    outcome = run(place, "retrieval", "classification")
    assert outcome.results.keys() == {"retrieval"}
    assert outcome.is_transient
    with pytest.raises(TransientError, match=r"classification on colours: .*Input/output error"):
        run(place, "classification")


def test_problems_that_repetition_does_not_mend_end_in_an_error_of_no_other_class(place: Path) -> None:
    outcome = run(place, "classification", classification={"datasets": ["none", "colours"]})
    with pytest.raises(CosmosError, match="not everything was measured:\n  classification on none") as error:
        outcome.raise_problems()
    assert type(error.value) is CosmosError
    run(place, "classification").raise_problems()


def test_a_diverged_checkpoint_is_refused_by_name(place: Path) -> None:
    config = ModelConfig.of(params())
    model = config.build()
    torch.nn.init.constant_(model.text_projection, torch.nan)
    write_checkpoint(RunDir(place / "runs" / "tiny").checkpoint(4), model, model, config)
    outcome = run(place, "retrieval")
    assert "is not finite; take a checkpoint from before the training diverged" in outcome.problems[0]
    assert outcome.results == {}


def test_a_checkpoint_that_does_not_say_its_architecture_is_measured_with_a_warning(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = RunDir(place / "runs" / "tiny").saved_checkpoints
    content = torch.load(path, weights_only=True)
    del content["config"]
    torch.save(content, path)
    assert run(place, "retrieval").problems == []
    assert "does not say its architecture; it is built by the parameters: inline, with 8 heads" in caplog.text


def test_a_diverged_student_keeps_no_teacher_from_being_measured(place: Path) -> None:
    config = ModelConfig.of(params())
    student, teacher = config.build(), config.build()
    torch.nn.init.constant_(student.text_projection, torch.nan)
    write_checkpoint(RunDir(place / "runs" / "tiny").checkpoint(4), student, teacher, config)
    outcome = run(place, "retrieval")
    assert outcome.results["retrieval"]["heldout"]["models"].keys() == {"teacher"}
    assert outcome.problems[0].startswith("retrieval on heldout, student: the embedding of")


def test_what_was_measured_is_not_measured_again_until_something_changes(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def measured() -> int:
        caplog.clear()
        with caplog.at_level("INFO", logger="cosmos"):
            run(place, "classification")
        return caplog.text.count("measured in")

    assert measured() == 2
    assert measured() == 0
    write_images(place / "classes", {"red/2.png": "red"})
    assert measured() == 2
    write_run(place / "runs" / "tiny", seed=1)
    assert measured() == 2


def test_a_second_dataset_of_a_suite_joins_the_first(place: Path) -> None:
    write_images(place / "others", {"red/1.png": "red", "blue/1.png": "blue"})
    own = {"others": {"images": "others"}}
    run(place, "classification")
    run(place, "classification", classification={"datasets": ["others"], "own": own})
    assert saved(place, "classification")["datasets"].keys() == {"colours", "others"}


def test_an_image_is_encoded_once_for_all_that_is_asked_of_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = checkpoints.Checkpoint.load

    def watched(self: checkpoints.Checkpoint, which: str, config: ModelConfig) -> Any:
        model = original(self, which, config)
        model.visual.conv1.register_forward_pre_hook(lambda module, inputs: encoded.append(len(inputs[0])))
        return model

    monkeypatch.setattr(checkpoints.Checkpoint, "load", watched)
    run(place, "classification")
    assert sum(encoded) == 2 * 5
    (place / "names.txt").write_text("".join(f"a {colour} thing\n" for colour in sorted(COLOURS)))
    own = {"renamed": {"images": "classes", "class_names": "names.txt"}}
    run(place, "classification", classification={"datasets": ["renamed"], "own": own})
    assert sum(encoded) == 2 * 5


def test_segmentations_can_be_looked_at(place: Path) -> None:
    outcome = run(place, "segmentation", segmentation=write_flags(place))
    figures = outcome.results["segmentation"]["flags"]["models"]["teacher"]
    assert {"csa_mIoU", "plain_mIoU", "csa_accuracy", "plain_accuracy"} <= figures.keys()
    for which in ("student", "teacher"):
        (file,) = (place / "runs" / "tiny" / "results").glob(f"segmentation-flags@*-{which}.png")
        with Image.open(file) as sheet:
            assert sheet.width > 500


def test_a_sheet_of_segmentations_that_could_not_be_written_is_written_the_next_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = write_flags(place)

    def fail(image: Image.Image, *args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        assert run(place, "segmentation", segmentation=flags).is_transient
    sheets = place / "runs" / "tiny" / "results"
    assert not list(sheets.glob("*.png"))
    run(place, "segmentation", segmentation=flags).raise_problems()
    assert len(list(sheets.glob("segmentation-flags@*.png"))) == 2


def test_published_figures_stand_beside_a_checkpoints_own(place: Path) -> None:
    name = "cosmos_vitb16_cc3m"
    with pytest.raises(ValueError, match=r"evaluate\.published: no 'cosmos_vitb99'; near it: cosmos_vitb"):
        run(place, "retrieval", published="cosmos_vitb99")
    entry = run(place, "retrieval", published=name).results["retrieval"]["heldout"]
    assert entry["published"] == {"checkpoint": name}
    assert figures_published_of("retrieval", entry) == {}
    whole = {**entry, "dataset": "coco-val2017"}
    assert figures_published_of("retrieval", whole) == published_figures(name, "retrieval", "coco-val2017")
    assert figures_published_of("retrieval", {**whole, "published": {"checkpoint": "no longer"}}) == {}


@pytest.mark.slow
def test_two_processes_measure_what_one_does(place: Path) -> None:
    alone = run(place, "retrieval", "classification").results
    write_run(place / "runs" / "shared", seed=0)
    run_ranks(evaluate_rank, str(place))
    for suite, dataset in (("retrieval", "heldout"), ("classification", "colours")):
        found = json.loads((place / "runs" / "shared" / "results" / f"{suite}.json").read_text())
        expected = alone[suite][dataset]["models"]
        for which, figures in found["datasets"][dataset]["models"].items():
            assert figures == pytest.approx(expected[which])


def test_all_ranks_measure_one_checkpoint_of_a_run_that_is_trained_meanwhile(place: Path) -> None:
    alone = run(place, "retrieval", "classification").results
    shared = RunDir(place / "runs" / "shared")
    write_run(shared.path, seed=1)
    shared.checkpoint(3).rename(shared.checkpoint(2))
    write_run(shared.path, seed=0)
    run_ranks(evaluate_rank_that_was_early, str(place))
    found = json.loads(shared.result_file("retrieval").read_text())["datasets"]["heldout"]
    assert found["checkpoint_sha256"] == provenance.file_sha256(shared.checkpoint(3))
    for which, figures in found["models"].items():
        assert figures == pytest.approx(alone["retrieval"]["heldout"]["models"][which])


def evaluate_rank_that_was_early(rank: int, folder: str) -> None:
    """Evaluates as `evaluate_rank`; the second rank looked before the last checkpoint was saved."""
    if rank == 1:
        steps = directory._saved_steps
        directory._saved_steps = lambda folder: steps(folder)[:1]
    evaluate_rank(rank, folder)


def evaluate_rank(rank: int, folder: str) -> None:
    place = Path(folder)
    evaluate(
        ["retrieval", "classification"], params(), here(place), place / "runs" / "shared", "", quiet=True
    )


def test_evaluating_a_run_that_is_not_there_says_what_makes_one(place: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint; `cosmos pretrain` makes one"):
        evaluate(["retrieval"], params(), here(place), place / "runs" / "none", "", quiet=True)
