"""The data that a run is of, on a few images with captions."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos.config.experiment import Experiment, load_params
from cosmos.config.identity import READ_IN_TRAINING
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params
from cosmos.data.loader import Batches, make_loader
from cosmos.data.preparation import prepare_dataset
from cosmos.errors import InputError
from cosmos.run.directory import RunDir, load_saved_params
from cosmos.search.trial_jobs import TrialJobs
from cosmos.stages.pretrain_job import Pretraining, launch_pretraining, show_dry_run
from cosmos.stages.run_opening import open_run_on, read_dataset_version
from tests.data.examples import flickr8k, machine
from tests.stages.examples import ROOT, TINY


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.chdir(ROOT)
    return machine(tmp_path, device="cpu", workers=0, cluster="debug", runs_root=tmp_path / "runs")


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """An experiment that names its dataset, as `--data.name things` does, and nothing of its source."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    overrides = {"data": {"name": "things"}, "pretrain": {"epochs": 1, "evaluate_every_epochs": 0}}
    return load_params(str(tmp_path / "tiny.yaml"), overrides, ROOT / "params.yaml")


def prepare(number: int, folder: Path, site: Machine, **changes: object) -> DataParams:
    """Prepare the dataset from `number` images, in place of the one that is there."""
    shutil.rmtree(site.data_root, ignore_errors=True)
    data = flickr8k(folder, number, samples_per_shard=8, **changes)
    prepare_dataset(data, site, processes=1)
    return data


@pytest.mark.parametrize("number", [16, 24])
def test_data_that_is_replaced_while_a_run_trains_is_named_with_both_versions(
    number: int, tmp_path: Path, site: Machine, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment("tiny", params, needs={}, about="", cost="", expected="")
    site = site.model_copy(update={"data_wait_minutes": 0})
    run = RunDir(site.runs_root / "mine")
    prepare(16, tmp_path, site)

    def make_loader_of_other_data(*arguments: Any) -> Batches:
        prepare(number, tmp_path, site, seed=1)
        return make_loader(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("cosmos.stages.pretrain.make_loader", make_loader_of_other_data)
        with pytest.raises(InputError, match=rf"16 samples .* when this began, {number} samples .* now; put"):
            launch_pretraining(experiment, site, run.path, quiet=True)
    prepare(16, tmp_path, site)
    launch_pretraining(experiment, site, run.path, quiet=True)
    assert [path.name for path in run.saved_checkpoints] == ["step-00000002.pt"]


def test_a_finished_run_is_not_trained_on_when_its_data_is_other_data(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    experiment = Experiment("tiny", params, needs={}, about="", cost="", expected="")
    run = RunDir(site.runs_root / "mine")
    prepare(16, tmp_path, site)
    launch_pretraining(experiment, site, run.path, quiet=True)
    files = {path: path.read_bytes() for path in (run.params, run.provenance, run.metrics, run.lease)}
    prepare(24, tmp_path, site)
    with pytest.raises(InputError, match=r"mine was trained on other data, 16 samples .*: 24 samples"):
        launch_pretraining(experiment, site, run.path, quiet=True)
    assert {path: path.read_bytes() for path in files} == files
    assert [path.name for path in run.saved_checkpoints] == ["step-00000002.pt"]
    prepare(16, tmp_path, site)
    assert launch_pretraining(experiment, site, run.path, quiet=True)["steps"] == 2
    recorded = json.loads(run.provenance.read_text())
    assert (recorded["dataset"]["num_samples"], recorded["dataset"]["source"]["images"]) == (16, "images")
    assert recorded["sessions"][0]["data"] == recorded["data"]


def test_parameters_of_a_run_say_what_its_data_was_prepared_from(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepared = prepare(8, tmp_path, site)
    run = open_run_on(read_dataset_version(params, site), tmp_path / "run", params)
    assert load_saved_params(run).data == prepared
    assert params.data.source == "demo"


def test_a_batch_larger_than_the_dataset_leaves_no_run_that_refuses_a_smaller_one(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepare(4, tmp_path, site)
    dataset = read_dataset_version(params, site)
    with pytest.raises(
        InputError, match="8 is more than the 4 samples that can be read; set it to 4 or less"
    ):
        open_run_on(dataset, tmp_path / "run", params)
    smaller = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"batch_size": 4})})
    assert load_saved_params(open_run_on(dataset, tmp_path / "run", smaller)).pretrain.batch_size == 4


def test_a_dry_run_says_what_the_dataset_was_prepared_from_once_it_is_prepared(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    experiment = Experiment("tiny", params, needs={}, about="", cost="", expected="")
    assert show_dry_run(experiment, site, tmp_path / "run", quiet=True)["params"]["data"]["source"] == "demo"
    prepared = prepare(8, tmp_path, site)
    shown = show_dry_run(experiment, site, tmp_path / "run", quiet=True)
    assert shown["params"]["data"] == prepared.model_dump(mode="json")


def test_a_run_of_an_older_version_whose_parameters_say_what_was_asked_for_goes_on(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepared = prepare(8, tmp_path, site)
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.params.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    open_run_on(read_dataset_version(params, site), run.path, params)
    assert load_saved_params(run).data == prepared


def test_a_job_trains_only_on_the_data_that_it_was_submitted_for(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepare(16, tmp_path, site)
    job = Pretraining(params, site, tmp_path / "run", read_dataset_version(params, site))
    prepare(24, tmp_path, site)
    with pytest.raises(InputError, match=r"16 samples .* when this began, 24 samples .* now; give the same"):
        job()
    assert not (tmp_path / "run").exists()


def test_a_sweep_begins_no_trial_on_other_data_than_its_own(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepare(16, tmp_path, site)
    jobs = TrialJobs(site, "local", JobRequest(), (), read_dataset_version(params, site))
    prepare(24, tmp_path, site)
    with pytest.raises(InputError, match=r"16 samples .* when this began, 24 samples .* now"):
        jobs.start(RunDir(tmp_path / "trial-0"), params, 0)
    assert not (tmp_path / "trial-0").exists()


def test_data_prepared_again_to_the_same_bytes_is_the_same_and_so_is_other_news_of_skipped_inputs(
    tmp_path: Path, site: Machine, params: Params
) -> None:
    prepare(8, tmp_path, site)
    before = read_dataset_version(params, site)
    prepare(8, tmp_path, site)
    assert read_dataset_version(params, site) == before
    manifest = json.loads(before.manifest.read_text())
    manifest["skipped"] = [{"input": "z.jpg", "reason": "unreadable"}]
    before.manifest.write_text(json.dumps(manifest))
    again = read_dataset_version(params, site)
    assert (again.content == before.content, again.sha256 == before.sha256) == (True, False)


def test_each_parameter_of_data_is_the_manifests_or_one_that_training_reads() -> None:
    of_manifest = {
        "source",
        "annotations",
        "images",
        "num_heldout",
        "samples_per_shard",
        "max_skipped",
        "seed",
    }
    assert {*READ_IN_TRAINING, *of_manifest, "demo"} == set(DataParams.model_fields)
