import json
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError, InputError
from cosmos.run.dataset_version import refuse_other_data
from cosmos.run.directory import RunDir
from cosmos.run.provenance import record_session
from tests.run.examples import dataset_version


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Run that was trained on the example of a dataset."""
    run = RunDir(tmp_path / "mine")
    record_session(run.provenance, dataset_version(), {}, {"device": "cpu"})
    return run


def test_a_run_goes_on_on_its_own_data_and_on_other_data_is_refused_with_both(run: RunDir) -> None:
    refuse_other_data(run, dataset_version())
    with pytest.raises(InputError) as refusal:
        refuse_other_data(run, dataset_version(sha256="fedcba0987654321", content="d", num_samples=24))
    assert str(refusal.value) == (
        f"{run.path} was trained on other data, 16 samples (manifest 12345678), than "
        "data/mine/train/manifest.json: 24 samples (manifest fedcba09); "
        "name another run with --run, or put the old data back"
    )


def test_a_manifest_that_differs_in_what_training_does_not_read_is_the_same_data(run: RunDir) -> None:
    refuse_other_data(run, dataset_version(sha256="fedcba0987654321"))


def test_the_manifest_that_an_older_version_recorded_is_respected(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    refuse_other_data(run, dataset_version())
    run.provenance.write_text(json.dumps({"data": {"train": "1234567890abcdef"}, "sessions": []}))
    refuse_other_data(run, dataset_version())
    with pytest.raises(InputError, match=r"on other data, manifest 12345678, than .*24 samples"):
        refuse_other_data(run, dataset_version(sha256="fedcba0987654321", num_samples=24))


@pytest.mark.parametrize("content", ["{", '{"data": []}', '{"data": {}, "dataset": 3}'])
def test_damaged_provenance_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(DamagedDataError, match=r"provenance\.json: not a provenance .*; delete it"):
        refuse_other_data(RunDir(tmp_path), dataset_version())


def test_data_that_changed_since_a_job_was_submitted_is_refused_with_both() -> None:
    before, now = dataset_version(), dataset_version(sha256="fedcba09", content="d", num_samples=24)
    before.check_unchanged(dataset_version(sha256="fedcba09"))
    with pytest.raises(InputError, match=r"16 samples \(manifest 12345678\) when this began, 24 samples"):
        now.check_unchanged(before)
