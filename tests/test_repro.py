"""The pipeline through a real DVC, from a fresh checkout: what runs, what is skipped, what survives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from cosmos.errors import CosmosError, InputError, TransientError
from cosmos.pipeline.dvc import STAGES
from cosmos.run.metrics import read_metrics
from tests.browser import CHROMIUM, OPEN_DETAILS, chromium
from tests.disks import small_disk
from tests.report.planted import planted_pages
from tests.stages.examples import TINY
from tests.stages.test_pretrain_job import heeding_ctrl_c
from tests.workspaces import SMALL, checkout, commit, dvc, git, settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("repro")]

ALL = ["params", *STAGES]
LASTING = TINY.replace("epochs: 3", "epochs: 90").replace("every_epochs: 3", "every_epochs: 0")


def stages_run(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]


def hashes(folder: Path) -> dict[str, str]:
    """Of what the pipeline made, by path."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def pretrained_steps(folder: Path) -> list[int]:
    run = folder / (folder / "pipeline" / "model.run").read_text().strip()
    return [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]


@contextmanager
def repro_begun(folder: Path, steps: int) -> Iterator["subprocess.Popen[str]"]:
    """A `dvc repro pretrain` that has come to so many steps; at the end, it is ended."""
    with heeding_ctrl_c():
        process = subprocess.Popen(
            ["dvc", "repro", "pretrain"],
            cwd=folder,
            env=settings(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "pipeline" / "model.run").exists() or len(pretrained_steps(folder)) < steps:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose pipeline has run."""
    folder = checkout(tmp_path_factory.mktemp("repro") / "checkout", SMALL)
    assert stages_run(dvc(folder, "repro")) == ALL
    commit(folder)
    return folder


def test_all_that_the_pipeline_makes_is_there(place: Path) -> None:
    pipeline = place / "pipeline"
    figures = json.loads((pipeline / "metrics.json").read_text())
    suites = {"retrieval", "classification", "segmentation", "perception"}
    assert set(figures) == {"pretrain", *suites, "data"}
    assert set(figures["data"]) == {"train", *suites}
    assert figures["pretrain"]["steps"] == 15
    run = place / (pipeline / "model.run").read_text().strip()
    assert {path.stem for path in (run / "results").glob("*.json")} == suites
    assert (pipeline / "report" / "report.html").stat().st_size > 1000
    assert (pipeline / "data" / "demo" / "preview.png").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_reports_and_comparisons_are_whole_in_a_browser(place: Path, tmp_path: Path) -> None:
    name = Path((place / "pipeline" / "model.run").read_text().strip()).name
    for command in (["report", name], ["compare", name]):
        arguments = [*command, "--output", str(tmp_path / f"{command[0]}.html")]
        ours = settings(place, DATA_ROOT="pipeline/data")
        subprocess.run([sys.executable, "-m", "cosmos", *arguments], cwd=place, env=ours, check=True)
    pages = [
        place / "pipeline" / "report" / "report.html",
        *tmp_path.glob("*.html"),
        *planted_pages(tmp_path),
    ]
    assert max(page.stat().st_size for page in pages) < 8e6
    with chromium() as browser:
        for page in pages:
            for width, colours in ((1280, "light"), (390, "dark")):
                browser.open(page, width, colours)
                assert browser.problems() == {}, (page, width)
                browser.evaluate(OPEN_DETAILS)
                assert browser.problems() == {}, (page, width)
        browser.open(tmp_path / "report.html", 1280)
        assert browser.evaluate("document.querySelectorAll('#sees .step:not(.aside) img').length") > 4
        browser.evaluate("document.querySelector('#batch .stepper').focus()")
        browser.press("ArrowRight")
        assert (
            browser.evaluate("document.querySelector('#batch .turner').textContent") == "\u21902 of 4\u2192"
        )


def test_a_second_time_nothing_runs(place: Path) -> None:
    done = dvc(place, "repro")
    assert stages_run(done) == []
    assert "Data and pipelines are up to date." in done.stdout


def test_a_loss_weight_concerns_pretraining_and_what_follows_and_going_back_restores(place: Path) -> None:
    before = hashes(place)
    done = dvc(place, "exp", "run", "--name", "half", "-S", "loss.distill_weight=0.5")
    assert stages_run(done) == [stage for stage in ALL if stage != "prepare"]
    assert hashes(place)["pipeline/model"] != before["pipeline/model"]

    differing = dvc(place, "params", "diff", "--targets", "pipeline/experiment.yaml").stdout
    assert "loss.distill_weight" in differing
    assert "retrieval.heldout.teacher" in dvc(place, "metrics", "diff").stdout
    assert dvc(place, "plots", "diff", "HEAD", "--json").returncode == 0
    shown = dvc(place, "exp", "show", "--csv").stdout
    assert "\nhalf," in shown
    assert "retrieval.heldout.teacher.image_to_text_R@1" in shown

    git(place, "checkout", "params.yaml")
    assert "Stage 'pretrain' is cached - skipping run" in dvc(place, "repro").stdout
    assert hashes(place) == before


def test_docstrings_run_nothing_but_the_first_stage_and_computations_run_what_imports_them(
    place: Path,
) -> None:
    step, page = (place / "cosmos" / name for name in ("training/step.py", "report/page.py"))
    texts = {path: path.read_text() for path in (step, page)}
    for path in texts:
        path.write_text(texts[path] + '\n"""Another text."""\n# and a comment\n')
    assert stages_run(dvc(place, "repro")) == ["params"]
    assert dvc(place, "status").stdout.strip() == "Data and pipelines are up to date."
    page.write_text(texts[page] + "FURTHER = 1\n")
    assert stages_run(dvc(place, "repro")) == ["params", "report"]
    step.write_text(texts[step] + "FURTHER = 1\n")
    assert stages_run(dvc(place, "repro", "params")) == ["params"]
    status = dvc(place, "status").stdout
    assert "code.pretrain" in status
    assert "code.evaluate" not in status
    for path, text in texts.items():
        path.write_text(text)
    assert dvc(place, "repro").returncode == 0


def test_an_experiment_that_there_is_not_fails_and_leaves_the_pipeline_as_it_was(place: Path) -> None:
    params, made = place / "params.yaml", place / "pipeline" / "experiment.yaml"
    text, before = params.read_text(), made.read_bytes()
    params.write_text(text.replace("experiment: tiny", "experiment: tinny"))
    assert "tinny" in dvc(place, "repro").stderr
    assert made.read_bytes() == before
    assert dvc(place, "repro", "--dry").returncode == 0
    params.write_text(text)
    assert stages_run(dvc(place, "repro")) == []


def test_a_change_inside_the_overlay_runs_what_it_touches(place: Path) -> None:
    (place / "experiments" / "tiny.yaml").write_text(SMALL.replace("plain", "csa"))
    assert stages_run(dvc(place, "repro")) == ["params", "evaluate@segmentation", "report"]
    (place / "experiments" / "tiny.yaml").write_text(SMALL)
    assert dvc(place, "repro").returncode == 0


def test_what_is_pushed_comes_back_with_the_same_hashes(place: Path) -> None:
    before = hashes(place)
    assert dvc(place, "push").returncode == 0
    shutil.rmtree(place / ".dvc" / "cache")
    for made in ("data", "model", "results", "report", "curves.csv"):
        path = place / "pipeline" / made
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    pulled = dvc(place, "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert dvc(place, "status").stdout.strip() == "Data and pipelines are up to date."
    assert hashes(place) == before


def test_a_remote_that_went_away_is_named_and_nothing_is_lost(place: Path) -> None:
    before = hashes(place)
    storage = place.parent / "cosmos-storage"
    storage.rename(place.parent / "away")
    storage.write_text("no folder")
    pushed = dvc(place, "push")
    assert pushed.returncode != 0
    assert "cosmos-storage" in pushed.stderr
    assert dvc(place, "status").stdout.strip() == "Data and pipelines are up to date."
    storage.unlink()
    (place.parent / "away").rename(storage)
    assert dvc(place, "push").returncode == 0
    assert hashes(place) == before


def test_an_interrupted_pretraining_goes_on_and_a_second_repro_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout", LASTING)
    with repro_begun(folder, steps=20) as first:
        second = dvc(folder, "repro", "pretrain")
        assert second.returncode != 0
        assert "is busy, it is being blocked by" in second.stderr
        assert str(first.pid) in second.stderr
        os.killpg(first.pid, signal.SIGINT)
        said, _ = first.communicate()
        assert "the same command continues" in said
    stopped_at = pretrained_steps(folder)[-1]
    assert 20 <= stopped_at < 450
    # an edit that changes no computation does not change the run either
    trainer = folder / "cosmos" / "training" / "trainer.py"
    trainer.write_text(trainer.read_text() + '\n"""Another text."""\n# and a comment\n')
    again = dvc(folder, "repro", "pretrain")
    assert stages_run(again) == ["params", "pretrain"]
    assert f"step {stopped_at} of 450" in again.stdout
    assert pretrained_steps(folder) == list(range(1, 451))


@pytest.mark.parametrize(
    ("options", "message", "error", "stage", "last"),
    [
        ("ro", "Read-only file system", InputError, "prepare", "data.state"),
        ("size=12m", "No space left on device", TransientError, "pretrain", "model.run"),
    ],
)
def test_a_cache_that_cannot_be_written_costs_nothing_that_was_made(
    tmp_path: Path, options: str, message: str, error: type[CosmosError], stage: str, last: str
) -> None:
    folder = checkout(tmp_path / "checkout")
    with small_disk(folder / ".dvc" / "cache", options):
        failed = dvc(folder, "repro", stage)
        assert failed.returncode != 0
        assert message in failed.stderr
        flow = [sys.executable, "-m", "cosmos.run.dvc_command", "repro", stage]
        assert subprocess.run(flow, cwd=folder, env=settings(folder)).returncode == error.exit_status
    assert (folder / "pipeline" / last).exists()
    made = (folder / "pipeline" / "data.state").stat().st_mtime_ns
    again = dvc(folder, "repro", stage)
    assert again.returncode == 0, again.stderr
    assert (folder / "pipeline" / "data.state").stat().st_mtime_ns == made
    assert "step 15 of 15: loss" not in again.stderr
