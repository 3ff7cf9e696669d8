"""Every sampler, pruner and storage of a study."""

from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.errors import DamagedDataError, InputError
from cosmos.search.study_storage import load_study
from tests.search.examples import Bench, controller, small_sweep


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_proposes_trials(tmp_path: Path, sampler: str) -> None:
    sweep = small_sweep(tmp_path, sampler={"name": sampler, "startup_trials": 2})
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(5))
    assert [trial.state.name for trial in lead.study.trials] == ["COMPLETE"] * 5
    assert len({str(record.asked) for record in lead.folder.trials}) == 5


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband", "halving"])
def test_every_pruner_but_none_stops_trials(tmp_path: Path, pruner: str) -> None:
    sweep = small_sweep(tmp_path, epochs=9, pruner={"name": pruner, "startup_trials": 2})
    lead = controller(sweep, tmp_path, Bench(slow=True))
    list(lead.search(12))
    states = {trial.state.name for trial in lead.study.trials}
    assert states == ({"COMPLETE"} if pruner == "none" else {"COMPLETE", "PRUNED"})


OTHER_NAME = '{"op_code": 0, "worker_id": "", "study_name": 1, "directions": [2]}\n'


@pytest.mark.parametrize("content", ["{\n{}\n", OTHER_NAME, OTHER_NAME.replace("1", "[]")])
def test_a_damaged_journal_is_named(tmp_path: Path, content: str) -> None:
    lead = controller(small_sweep(tmp_path), tmp_path, Bench())
    lead.folder.journal.write_text(content)
    with pytest.raises(DamagedDataError, match=r"study\.journal: not the journal of a study"):
        load_study(lead.folder, Machine())


def test_a_study_that_is_read_is_not_created(tmp_path: Path) -> None:
    lead = controller(small_sweep(tmp_path), tmp_path, Bench())
    lead.folder.journal.unlink()
    with pytest.raises(InputError, match="its study is not in the storage; `cosmos sweep` makes it"):
        load_study(lead.folder, Machine())
    assert not lead.folder.journal.exists()


def test_an_address_that_is_none_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", "nosuchdatabase://host/studies")
    with pytest.raises(InputError, match="see COSMOS_STUDY_STORAGE"):
        controller(small_sweep(tmp_path), tmp_path, Bench())
