"""A pipeline's folder as the stages leave it, in a few literal files."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from PIL import Image

from cosmos.config.evaluate_params import SuiteName
from cosmos.data.sample import Sample
from cosmos.errors import InputError
from cosmos.model.checkpoints import ModelConfig
from cosmos.pipeline.directory import CHECKPOINT_FILE
from cosmos.pipeline.report import write_report
from cosmos.run.directory import RunDir
from cosmos.stages.evaluate import evaluate
from cosmos.stages.evaluation_result import publish_results
from tests.evaluation.examples import COLOURS, image_bytes, write_split
from tests.forks import run_dvc
from tests.model.examples import write_checkpoint
from tests.stages.colours import here, params

SUITES = get_args(SuiteName)
FIGURES = {
    "retrieval": {"image_to_text_R@1": 0.5, "text_to_image_R@1": 0.25},
    "classification": {"top1": 0.383, "accuracy/cat": 1.0},
    "segmentation": {"csa_mIoU": 0.5, "csa_IoU/cat": 0.5},
    "perception": {"mean": 0.5},
}
SESSION = {
    "commit": "c0ffee",
    "diff": "",
    "packages": {"cosmos-pretraining": "0.1.0", "torch": "2.14.1"},
    "python": "3.11.7",
    "hardware": {"machine": "x86_64", "cpus": 2, "device": "cuda:0"},
}


def entry(models: dict[str, dict[str, float]], **parts: Any) -> dict[str, Any]:
    return {
        "title": "samples set aside",
        "num_images": 1200,
        "note": "",
        "data": {"data/manifest.json": "da7a"},
        "checkpoint": "pipeline/model/checkpoint.pt",
        "checkpoint_sha256": "5ha256",
        "precision": "float32",
        "code_version": "c0ffee",
        "chance": {},
        "models": models,
        "published": {},
        **parts,
    }


def step(number: int, rate: float = 100.0) -> dict[str, Any]:
    said = {"step": number, "samples": 8 * number, "loss": 4.5, "contrastive": 2.0, "distill": 2.5}
    return {**said, "learning_rate": 1e-3, "samples_per_second": rate}


def write_results(folder: Path, suite: str, datasets: dict[str, Any]) -> None:
    path = folder / "results" / suite / f"{suite}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"suite": suite, "datasets": datasets}))


def write_provenance(folder: Path, **parts: Any) -> None:
    said = {
        "data": {"train": "7ra1n"},
        "dvc": {"pipeline/data": "abc.dir"},
        "requeues": 0,
        "sessions": [SESSION],
    }
    (folder / "model" / "provenance.json").write_text(json.dumps(said | parts))


def write_lines(folder: Path, *lines: dict[str, Any]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "model" / "metrics.jsonl").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pipeline"
    for name in ("model", "data/colours"):
        (folder / name).mkdir(parents=True)
    experiment = {"name": "tiny", "about": "a test", "data": {"name": "colours"}, "pretrain": {"epochs": 5}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    write_lines(folder, step(1, 1.0), step(2), {"step": 2, "evaluation": {"x": 1}}, step(3, 120.0))
    write_provenance(folder)
    for suite in SUITES:
        models = {"student": FIGURES[suite], "teacher": FIGURES[suite]}
        write_results(folder, suite, {"heldout": entry(models)})
    Image.new("RGB", (2, 2), "red").save(folder / "data" / "colours" / "preview.png")
    return folder


def html_of(folder: Path) -> str:
    return Path(write_report(folder, quiet=True)["report"]).read_text()


def metrics_of(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path(write_report(folder, quiet=True)["metrics"]).read_text())
    return value


def test_a_page_the_figures_and_the_curves_are_written_where_dvc_expects_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = write_report(folder)
    assert written == {
        "report": str(folder / "report" / "report.html"),
        "metrics": str(folder / "metrics.json"),
        "curves": str(folder / "curves.csv"),
    }
    said = capsys.readouterr().out
    assert all(path in said and Path(path).is_file() for path in written.values())


def test_it_says_nothing_when_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(folder, quiet=True)
    assert capsys.readouterr().out == ""


def test_figures_are_told_by_suite_dataset_and_model_without_those_of_single_classes(folder: Path) -> None:
    metrics = metrics_of(folder)
    assert metrics["pretrain"] == {
        **{"steps": 3, "samples": 24, "loss": 4.5, "contrastive": 2.0, "distill": 2.5},
        "samples_per_second": 100.0,
    }
    assert metrics["retrieval"]["heldout"]["teacher"] == FIGURES["retrieval"]
    assert metrics["classification"]["heldout"]["student"] == {"top1": 0.383}
    assert metrics["segmentation"]["heldout"]["student"] == {"csa_mIoU": 0.5}
    assert metrics["data"]["retrieval"] == {"heldout": "da7a"}


@pytest.mark.slow
def test_dvc_shows_names_with_dots_apart_from_paths_with_dots(folder: Path, tmp_path: Path) -> None:
    datasets = {"x": entry({"y": {"top1": 0.5}}), "x.y": entry({"top1": {"a.b": 0.1}}), "x%2Ey": entry({})}
    write_results(folder, "classification", datasets)
    path = write_report(folder, quiet=True)["metrics"]
    assert list(metrics_of(folder)["classification"]) == ["x", "x%2Ey", "x%252Ey"]

    run_dvc(tmp_path, "init", "--quiet", "--no-scm")
    shown = run_dvc(tmp_path, "metrics", "show", path, "--md")
    assert "classification.x.y.top1" in shown
    assert "classification.x%2Ey.top1.a%2Eb" in shown


def test_curves_have_a_row_for_each_step_that_was_logged(folder: Path) -> None:
    rows = Path(write_report(folder, quiet=True)["curves"]).read_text().splitlines()
    assert rows[0] == "step,samples,loss,contrastive,distill,learning_rate,samples_per_second"
    assert rows[1:] == [
        "1,8,4.5,2.0,2.5,0.001,1.0",
        "2,16,4.5,2.0,2.5,0.001,100.0",
        "3,24,4.5,2.0,2.5,0.001,120.0",
    ]


def test_the_page_tells_the_experiment_and_what_it_changes(folder: Path) -> None:
    html = html_of(folder)
    assert "<h1>tiny</h1>" in html
    assert "About: a test" in html
    assert "<dt>pretrain.epochs</dt><dd>3 -&gt; 5</dd>" in html
    assert "<dt>data.name</dt><dd>demo -&gt; colours</dd>" in html
    assert "pretrain.batch_size" not in html
    assert "3 steps, 24 samples, loss 4.5, 100 samples per second" in html


def test_the_page_tells_what_figures_come_from(folder: Path) -> None:
    html = html_of(folder)
    for name, value in {
        "trained by": "c0ffee",
        "data, train": "sha256 7ra1n",
        "DVC, pipeline/data": "md5 abc.dir",
        "checkpoint": "pipeline/model/checkpoint.pt, sha256 5ha256",
        "measured by": "c0ffee",
        "device": "cuda:0, x86_64, 2 CPUs",
        "packages": "python 3.11.7, cosmos-pretraining 0.1.0, torch 2.14.1",
        "heldout": "samples set aside; 1,200 images; measured in float32",
        "heldout, data": "data/manifest.json, sha256 da7a",
    }.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html
    assert html.count("<dt>checkpoint</dt>") == 1


def test_sessions_that_differ_are_each_told_with_what_was_not_committed(folder: Path) -> None:
    moved = SESSION | {"hardware": {"machine": "x86_64", "cpus": 8, "device": "cpu"}}
    changed = SESSION | {"commit": "beef", "diff": "+ a line"}
    write_provenance(folder, sessions=[SESSION, moved, changed], requeues=2)
    html = html_of(folder)
    assert re.findall("<dt>trained by</dt><dd>(.*)</dd>", html) == [
        "c0ffee",
        "beef, with changes that are not committed",
    ]
    assert "cpu, x86_64, 8 CPUs" in html
    assert "<dd>3, after 2 requeues</dd>" in html


def test_provenance_from_before_dvc_was_asked_is_enough(folder: Path) -> None:
    value = json.loads((folder / "model" / "provenance.json").read_text())
    del value["dvc"]
    (folder / "model" / "provenance.json").write_text(json.dumps(value))
    assert "<dt>DVC" not in html_of(folder)


def test_pictures_are_shown_as_far_as_there_are_any(folder: Path) -> None:
    assert html_of(folder).count("<img ") == 1
    sheet = folder / "results" / "segmentation" / "segmentation-heldout-teacher.png"
    shutil.copyfile(folder / "data" / "colours" / "preview.png", sheet)
    html = html_of(folder)
    assert html.count("<img ") == 2
    assert "segmentations of heldout by the teacher" in html
    (folder / "data" / "colours" / "preview.png").unlink()
    assert html_of(folder).count("<img ") == 1


def test_published_figures_stand_beside_the_teachers(folder: Path) -> None:
    published = {"checkpoint": "cosmos_vitb16_cc3m", "figures": {"top1": 0.5}}  # as they were once
    write_results(
        folder, "classification", {"imagenet": entry({"teacher": {"top1": 0.383}}, published=published)}
    )
    html = html_of(folder)
    assert '<th scope="row">published</th><td>37.1</td>' in html
    assert '<th scope="row">difference</th><td>+1.2</td>' in html
    assert "<dt>imagenet, published</dt><dd>cosmos_vitb16_cc3m</dd>" in html


def test_the_same_inputs_make_the_same_bytes(folder: Path) -> None:
    first = [Path(path).read_bytes() for path in write_report(folder, quiet=True).values()]
    assert [Path(path).read_bytes() for path in write_report(folder, quiet=True).values()] == first


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("experiment.yaml", "params"),
        ("model/metrics.jsonl", "pretrain"),
        ("model/provenance.json", "pretrain"),
        ("results/retrieval/retrieval.json", "evaluate@retrieval"),
        ("results/perception/perception.json", "evaluate@perception"),
    ],
)
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_text('{"datasets": {"x": {}}'),
        lambda path: path.write_text("[1]"),
    ],
    ids=["missing", "cut short", "another form"],
)
def test_what_is_missing_or_broken_is_named_with_the_stage_that_makes_it(
    folder: Path, path: str, stage: str, damage: Callable[[Path], None]
) -> None:
    damage(folder / path)
    with pytest.raises(ValueError, match=rf"(?s){re.escape(path)}: .*`dvc repro {stage}`") as raised:
        write_report(folder, quiet=True)
    assert type(raised.value) is InputError
    assert not (folder / "metrics.json").exists()
    assert not (folder / "report").exists()


def test_an_entry_that_lacks_something_is_named_by_its_file(folder: Path) -> None:
    write_results(folder, "retrieval", {"heldout": {"models": {}}})
    with pytest.raises(ValueError, match=r"retrieval\.json: .*`dvc repro evaluate@retrieval`"):
        write_report(folder, quiet=True)


def test_a_pretraining_without_any_loss_is_no_pretraining(folder: Path) -> None:
    write_lines(folder, step(1) | {"loss": None})
    with pytest.raises(ValueError, match=r"metrics\.jsonl: .*no line has a loss.*`dvc repro pretrain`"):
        write_report(folder, quiet=True)


@pytest.mark.slow
def test_reports_are_made_without_torch() -> None:
    loaded = "bool({'torch', 'matplotlib'} & set(sys.modules))"
    code = f"import sys, cosmos.pipeline.report; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_samples_are_shown_where_the_checkpoint_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "What it sees" not in html_of(folder)
    samples = [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in COLOURS]
    write_split(folder / "data" / "colours" / "heldout", samples)
    checkpoint, config = folder / "model" / CHECKPOINT_FILE, ModelConfig.of(params())
    write_checkpoint(checkpoint, config.build(), config.build(), config, epoch=1)
    machine, run = here(folder), RunDir(folder / "runs" / "tiny")
    measured = evaluate(("retrieval",), params(), machine, run.path, str(checkpoint), quiet=True)
    publish_results(measured, run, str(checkpoint), folder / "results" / "retrieval")
    monkeypatch.setenv("COSMOS_WORKERS", "0")
    monkeypatch.setenv("COSMOS_RUNS_ROOT", str(folder / "none"))
    html = html_of(folder)
    assert "From captions to photographs" in html
    assert html.count("results are of another checkpoint") == 3
    assert not (folder / "none").exists()
