"""`cosmos export`: the folder, its model card, and folders and checkpoints that are refused."""

import json
import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard as HubCard

from cosmos.__main__ import main
from cosmos.config.machine import Machine
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.model.checkpoints import read_checkpoint
from cosmos.model.export_format import EXPORTED_FILES, TOKENIZER_FILES
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.directory import RunDir, write_params
from cosmos.run.files import write_json
from cosmos.run.metrics import MetricsWriter
from cosmos.stages.checkpoint_origin import run_of_results
from cosmos.stages.evaluate import evaluate
from cosmos.stages.export import ExportedModel, Publication, export_model
from tests.crash_points import killed_at_each_operation
from tests.forks import run_forked
from tests.hostile_texts import HOSTILE_TEXTS
from tests.model.examples import written
from tests.stages.colours import here, make_place, params

COMMIT = "ab12" * 10


def record_training(run: RunDir, **data: str) -> None:
    """The records of a finished training, of which paths and names of machines are nobody's business."""
    trained_with = params().model_copy(update={"data": params().data.model_copy(update=data)})
    write_params(run, trained_with)
    MetricsWriter(run.metrics).log(
        {"step": 3, "epoch": 3.0, "samples_used": 38, "samples_listed": 40, "loss": 2.5}
    )
    session = {
        "command": ["/home/me/secret/cosmos", "pretrain"],
        "commit": COMMIT,
        "diff": "",
        "python": "3.11",
        "packages": {"torch": "2.14"},
        "hardware": {"device": "cpu", "ranks": 2, "host": "node-17"},
    }
    recorded = {"data": {"train": "d" * 64}, "dataset": {"num_samples": 40}, "sessions": [session]}
    run.provenance.write_text(json.dumps(recorded))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    record_training(RunDir(tmp_path / "runs" / "tiny"), images="/home/me/photographs")
    return tmp_path


def export(folder: Path, name: str = "tiny", to: str = "out", **publication: Any) -> ExportedModel:
    return export_model(name, folder / to, Publication(**publication), here(folder), quiet=True)


def card(folder: Path) -> Any:
    """The model card, as the hub's library reads it."""
    return HubCard((folder / "README.md").read_text())


def test_a_run_is_exported_with_its_figures_data_recipe_and_provenance(place: Path) -> None:
    evaluate(["retrieval", "classification"], params(), here(place), place / "runs" / "tiny", "", quiet=True)
    exported = export(place, licence="cc-by-nc-4.0")
    assert (exported.run, exported.checkpoint, exported.which) == ("tiny", "step-00000003.pt", "teacher")
    assert {path.name for path in (place / "out").iterdir()} == EXPORTED_FILES
    about = card(place / "out")
    assert about.data.license == "cc-by-nc-4.0"
    front_matter = about.data.to_dict()
    assert front_matter["library_name"] == "open_clip"
    assert front_matter["pipeline_tag"] == "zero-shot-image-classification"
    results = {(r.dataset_type, r.metric_type): r.metric_value for r in about.data.eval_results or ()}
    measured = json.loads((place / "runs" / "tiny" / "results" / "classification.json").read_text())
    entry = measured["datasets"]["colours"]
    assert results["colours", "top1"] == entry["models"]["teacher"]["top1"]
    assert ("heldout", "image_to_text_R@1") in results
    assert ("colours", "ties") not in results
    for text in (
        "| colours | teacher |",
        r"| ± 95\% |",
        "| chance |",
        "40 samples (manifest dddddddd)",
        "trained on 38 of 40",
        "with these parameters:",
        "batch_size: 32",
        COMMIT,
        "Not measured: segmentation, perception.",
        "step-00000003.pt, sha256 `",
    ):
        assert text.replace("`", "") in about.text.replace("`", ""), text
    assert "student |" not in about.text
    for secret in ("/home/me", str(place), "node-17"):
        assert secret not in about.content


def test_published_figures_stand_beside_ones_own(place: Path) -> None:
    results = place / "runs" / "tiny" / "results" / "retrieval.json"
    results.parent.mkdir()
    sha256 = export(place) and json.loads((place / "out" / "cosmos.json").read_text())["origin"]["sha256"]
    entry = {
        "checkpoint": "x",
        "checkpoint_sha256": sha256,
        "data": {"a": "b"},
        "models": {"teacher": {"image_to_text_R@1": 0.5}, "student": {"image_to_text_R@1": 0.4}},
        "published": {"checkpoint": "cosmos_vitb16_cc3m"},
    }
    other = {**entry, "checkpoint_sha256": "0" * 64, "models": {"teacher": {"image_to_text_R@1": 0.1}}}
    results.write_text(json.dumps({"datasets": {"coco-val2017": entry, "flickr30k-test": other}}))
    export(place)
    text = card(place / "out").text
    assert r"| coco\-val2017 | teacher | 50.0 |" in text
    assert r"| coco\-val2017 | published | " in text
    assert "flickr30k" not in text


def test_what_an_exported_model_is_measured_at_is_what_the_run_is(place: Path) -> None:
    own = evaluate(["classification"], params(), here(place), place / "runs" / "tiny", "", quiet=True)
    for which in ("teacher", "student"):
        export(place, which=which)
        path, name = run_of_results(str(place / "out"), here(place))
        measured = evaluate(["classification"], params(), here(place), path, name, quiet=True)
        figures = measured.results["classification"]["colours"]["models"]
        assert figures == {which: own.results["classification"]["colours"]["models"][which]}
    with pytest.raises(InputError, match="holds no weights of the teacher, only of the student"):
        evaluate(["classification"], params(models=["teacher"]), here(place), path, name, quiet=True)


def test_a_file_without_records_of_its_training_is_exported_as_well(tmp_path: Path) -> None:
    exported = export(tmp_path, str(written(tmp_path)))
    assert (exported.run, exported.checkpoint) == ("", "c.pt")
    assert not {path.name for path in (tmp_path / "out").iterdir()} & set(TOKENIZER_FILES)
    about = card(tmp_path / "out")
    assert about.data.license == "unknown"
    assert "Not stated." in about.text
    assert "Nothing of this model was measured." in about.text
    assert about.text.count("Not recorded in the checkpoint.") == 2
    assert about.data.eval_results is None


def test_results_stand_once_whatever_path_leads_to_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(["classification"], params(), here(place), place / "runs" / "tiny", "", quiet=True)
    monkeypatch.chdir(place)
    relative = Machine(runs_root=Path("runs"))
    for name in ("tiny", "runs/tiny", "runs/tiny/checkpoints/step-00000003.pt"):
        exported = export_model(name, place / "out", Publication(), relative, quiet=True)
        assert (exported.run, exported.checkpoint) == ("tiny", "step-00000003.pt")
        assert card(place / "out").text.count("| teacher |") == 1


def test_a_training_that_has_not_ended_is_said(place: Path) -> None:
    run = RunDir(place / "runs" / "tiny")
    state = torch.load(run.checkpoint(3), weights_only=True)
    torch.save({**state, "epoch": 1.5}, run.checkpoint(3))
    export(place)
    assert "The training had come to 1.5 of its 3 epochs." in card(place / "out").text


def test_names_of_strangers_are_shown_and_change_nothing_else_in_the_card(place: Path) -> None:
    run = RunDir(place / "runs" / "tiny")
    export(place)
    plain_data = card(place / "out").data.to_dict()
    recorded = json.loads(run.provenance.read_text())
    recorded["sessions"] = [{"commit": text, "packages": {text: text}} for text in HOSTILE_TEXTS]
    write_json(run.provenance, recorded)
    export(place)
    plain = (place / "out" / "README.md").read_text()
    markup = re.sub("`[^`\n]+`", "", plain)  # code shows all signs
    assert "<script>" not in markup
    assert "](javascript" not in markup
    assert plain.isprintable() or all(c.isprintable() or c == "\n" for c in plain)
    assert card(place / "out").data.to_dict() == plain_data


def test_the_command_prints_the_code_that_loads_the_model(place: Path) -> None:
    environment, folder = {**os.environ, "COSMOS_RUNS_ROOT": str(place / "runs")}, str(place / "out")
    command = ["export", "tiny", "--to", folder, "--which", "student"]
    said = run_forked(main, command, place, environment).stdout
    assert said.splitlines()[0] == (
        f"model, _, preprocess = open_clip.create_model_and_transforms('local-dir:{folder}')"
    )
    assert "licence: unknown; --license states it" in said
    printed = json.loads(run_forked(main, [*command, "--json"], place, environment).stdout)
    assert (printed["folder"], printed["which"], printed["commit"]) == (folder, "student", "")


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        (
            "c.pt",
            "mine",
            r"mine/notes\.txt: would be deleted, since .*mine is replaced; name an empty folder",
        ),
        ("c.pt", "readme", r"readme/README\.md: would be deleted"),
        ("c.pt", "c.pt", r"c\.pt: a file; name the folder to write"),
        ("out", "out", "out: the model itself; name another folder"),
        ("nowhere", "new", "nowhere: no checkpoint's file, and no run in"),
        ("plain.pt", "new", r"plain\.pt: does not say its architecture"),
        ("student.pt", "new", r"student\.pt: holds no weights of the teacher, .*export --which student"),
    ],
)
def test_what_cannot_be_exported_or_would_be_lost_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, to: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = torch.load(written(tmp_path), weights_only=True)
    torch.save({k: v for k, v in content.items() if k != "config"}, tmp_path / "plain.pt")
    torch.save({k: v for k, v in content.items() if k != "teacher"}, tmp_path / "student.pt")
    for file in ("mine/notes.txt", "readme/README.md"):
        Path(file).parent.mkdir()
        Path(file).write_text("mine")
    export(tmp_path, "c.pt")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(InputError, match=message):
        export(tmp_path, name, to)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_a_licence_is_an_identifier_of_the_hub(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--license: 'Apache 2' is no identifier .*as apache-2\.0, cc-by"):
        export(tmp_path, str(written(tmp_path)), licence="Apache 2")
    assert not (tmp_path / "out").exists()


def test_a_damaged_record_of_the_run_is_named_and_nothing_is_written(place: Path) -> None:
    (place / "runs" / "tiny" / "provenance.json").write_text("{")
    with pytest.raises(DamagedDataError, match=r"provenance\.json: not a provenance"):
        export(place)
    assert not (place / "out").exists()


def test_an_export_that_is_killed_at_any_moment_is_whole_or_not_there(tmp_path: Path) -> None:
    checkpoint, output = str(written(tmp_path)), tmp_path / "there" / "out"
    export(tmp_path, checkpoint, "there/out")
    whole = {path.name: path.read_bytes() for path in output.iterdir()}
    student = Publication(which="student")
    for _ in killed_at_each_operation(
        lambda: export_model(checkpoint, output, student, Machine(), quiet=True), output.parent
    ):
        remove_abandoned(output.parent)
        assert list(output.parent.iterdir()) == [output]
        kept = {path.name: path.read_bytes() for path in output.iterdir()}
        if kept != whole:
            assert kept.keys() == whole.keys()
            assert read_checkpoint(output / "open_clip_model.safetensors").student
            export(tmp_path, checkpoint, "there/out")


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_full_disk_leaves_the_export_before_whole_and_is_named(tmp_path: Path, share: float) -> None:
    checkpoint = str(written(tmp_path))
    export(tmp_path, checkpoint)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    size = (tmp_path / "out" / "open_clip_model.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))
    try:
        with pytest.raises(TransientError, match=r"/out/open_clip_model\.safetensors: File too large; allow"):
            export(tmp_path, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
