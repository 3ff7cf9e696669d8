"""A sweep goes on from the records of its trials, whatever became of its study's storage."""

import errno
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from cosmos.config.machine import Machine
from cosmos.config.sweep import Sweep
from cosmos.errors import InputError, TransientError
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.journal import Journal
from cosmos.search.study_of_records import contradiction, study_of_records
from cosmos.search.study_plots import plot_study
from cosmos.search.study_storage import load_study, open_study
from tests.disks import fail_syncs
from tests.search.examples import Bench, controller, small_sweep


def records_of(folder: SweepDir) -> dict[str, str]:
    return {record.name: folder.run(record).trial.read_text() for record in folder.trials}


def cut_last_line(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[:-20])


def cut_in_the_middle(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))


def end_in_zeros(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes() + bytes(4096))


def end_in_a_line_of_zeros(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes() + bytes(40) + b"\n")


def damage_the_middle(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = b"\xff" * 60
    journal.write_bytes(content)


def flip_values(journal: Path) -> None:
    journal.write_text(journal.read_text().replace('"pretrain.momentum":0.9', '"pretrain.momentum":0.1'))


def give_wrong_types(journal: Path) -> None:
    journal.write_text(journal.read_text().replace('"state":1', '"state":"x"'))


def give_wrong_reports(journal: Path) -> None:
    journal.write_text(
        journal.read_text().replace('"intermediate_value":0', '"intermediate_value":[0],"x":0')
    )


def nest_deep(journal: Path) -> None:
    journal.write_text(journal.read_text() + "[" * 100_000 + "\n")


def end_in_a_huge_number(journal: Path) -> None:
    journal.write_text(journal.read_text() + "9" * 6_000 + "\n")


def replace_by_a_folder(journal: Path) -> None:
    journal.unlink()
    (journal / "x").mkdir(parents=True)


def replace_by_a_pipe(journal: Path) -> None:
    journal.unlink()
    os.mkfifo(journal)


def replace_by_a_dangling_link(journal: Path) -> None:
    journal.unlink()
    journal.symlink_to("nowhere")


def swap_for_another_sweeps(journal: Path) -> None:
    other = optuna.create_study(
        study_name="other",
        storage=optuna.storages.JournalStorage(Journal(journal.with_name("other"))),
    )
    other.ask()
    journal.with_name("other").replace(journal)


DAMAGES: list[Callable[[Path], None]] = [
    Path.unlink,
    lambda journal: journal.write_text(""),  # type: ignore[list-item]
    cut_last_line,
    cut_in_the_middle,
    end_in_zeros,
    end_in_a_line_of_zeros,
    damage_the_middle,
    flip_values,
    give_wrong_types,
    give_wrong_reports,
    nest_deep,
    end_in_a_huge_number,
    replace_by_a_folder,
    replace_by_a_pipe,
    replace_by_a_dangling_link,
    swap_for_another_sweeps,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_command_goes_on_without_its_journal(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(2))
    before = records_of(lead.folder)
    damage(lead.folder.journal)
    damaged = lead.folder.journal.read_bytes() if lead.folder.journal.is_file() else b""

    again, bench = controller(sweep, tmp_path, Bench()), Bench()
    again.runner = bench
    list(again.search(3))
    assert bench.started == ["trial-0002"]
    assert before.items() <= records_of(lead.folder).items()
    assert [record.state for record in lead.folder.trials] == ["finished"] * 3
    study = open_study(sweep, lead.folder, Machine())
    assert contradiction(study, study_of_records(sweep, lead.folder)) == ""
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    for kept in lead.folder.path.glob("study.journal.damaged-*"):
        assert kept.name in caplog.text
        assert not kept.is_file() or kept.read_bytes() == damaged


def without_times(study: optuna.Study) -> list[dict[str, Any]]:
    """Return what a study has of its trials, but for times and the rounding of parameters."""
    return [
        {
            "state": trial.state,
            "values": trial.values,
            "params": {name: pytest.approx(value, rel=1e-6) for name, value in trial.params.items()},
            "distributions": trial.distributions,
            "user": trial.user_attrs,
            "system": {
                key: value
                for key, value in trial.system_attrs.items()
                if "rung" in key or "generation" in key  # the others are of running trials alone
            },
            "reported": trial.intermediate_values,
        }
        for trial in study.trials
    ]


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [("tpe", "median"), ("nsga2", "none"), ("random", "hyperband"), ("gp", "halving"), ("tpe", "promote")],
)
def test_a_study_of_records_is_the_one_that_was_lost(tmp_path: Path, sampler: str, pruner: str) -> None:
    rungs = {"rungs": [1, 2]} if pruner == "promote" else {}
    settings = {"sampler": {"name": sampler, "startup_trials": 2}, "pruner": {"name": pruner, **rungs}}
    sweep = small_sweep(tmp_path, epochs=4, **settings)
    lead = controller(sweep, tmp_path, Bench(slow=True), parallel=1)
    list(lead.search(9))
    assert without_times(study_of_records(sweep, lead.folder)) == without_times(lead.study)


def test_a_trial_that_ran_is_taken_on_though_the_journal_is_gone(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    left = controller(sweep, tmp_path, Bench(slow=True))
    running = left.search(4)
    begun = [next(running), next(running)]
    left.folder.journal.unlink()
    bench = Bench()
    list(controller(sweep, tmp_path, bench).search(4))
    assert bench.started == [f"trial-000{number}" for number in range(4)]
    assert {record.name: bench.params[record.name] for record in begun} == {
        record.name: sweep.params(record.asked, 0) for record in begun
    }


def test_the_job_of_a_pruned_trial_ends_though_the_journal_is_gone(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, pruner={"name": "median", "startup_trials": 1})
    lead = controller(sweep, tmp_path, Bench(lambda params: [0.1], slow=True), parallel=1)
    record, trial = lead.ask()
    running = lead.begin(record, trial)
    replace(running, state="pruned").write(lead.folder.run(record))  # killed before the job was ended
    lead.folder.journal.unlink()
    bench = Bench()
    list(controller(sweep, tmp_path, bench).search(1))
    assert (bench.stopped, bench.started) == (["trial-0000"], [])


def test_a_database_that_lost_its_study_or_has_another_goes_on_from_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", url)
    sweep = small_sweep(tmp_path)
    list(controller(sweep, tmp_path, Bench()).search(2))
    optuna.delete_study(study_name=sweep.id, storage=url)
    again = controller(sweep, tmp_path, Bench())
    list(again.search(3))
    assert len(again.study.trials) == len(again.folder.trials) == 3

    elsewhere = tmp_path / "elsewhere"
    for number in (2, 3):
        other = controller(sweep, elsewhere, Bench())  # the same sweep below another root of runs
        list(other.search(number))
    assert other.study.study_name == load_study(other.folder, Machine()).study_name == f"{sweep.id}-2"
    assert f"its trial 0 is another one than trial-0000; {sweep.id}-2 is made" in caplog.text
    assert len(optuna.load_study(study_name=sweep.id, storage=url).trials) == 3
    assert [record.state for record in other.folder.trials] == ["finished"] * 3


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = '{{'",
        "UPDATE trial_params SET distribution_json = '{}'",
        "UPDATE trials SET state = 'ENDED'",
        "DROP TABLE trial_values",
    ],
)
def test_rows_of_a_database_that_cannot_be_read_stay_beside_a_study_of_the_records(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", f"sqlite:///{tmp_path}/studies.db")
    sweep = small_sweep(tmp_path)
    list(controller(sweep, tmp_path, Bench()).search(2))
    with closing(sqlite3.connect(tmp_path / "studies.db")) as database, database:
        database.execute(damage)
    again = controller(sweep, tmp_path, Bench())
    assert again.study.study_name == f"{sweep.id}-2"
    assert f"study {sweep.id}: cannot be read (" in caplog.text
    list(again.search(3))
    assert [record.state for record in again.folder.trials] == ["finished"] * 3


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+pymysql://optuna:S3cret@1@host/optuna", "more than one '@'; write that .* as %40"),
        (
            "sqlite://studies.db",
            "the study of small-[0-9a-f]+: Invalid SQLite URL.*; see COSMOS_STUDY_STORAGE",
        ),
    ],
)
def test_an_address_of_a_database_that_is_wrong_is_told_without_its_password(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", url)
    with pytest.raises(InputError, match=message) as told:
        controller(small_sweep(tmp_path), tmp_path, Bench())
    assert not [text for text in ("S3cret", "1@host", "\n") if text in str(told.value)]


def test_a_file_that_is_no_database_is_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies.db").write_bytes(b"garbage" * 1000)
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", f"sqlite:///{tmp_path}/studies.db")
    with pytest.raises(InputError, match=r"the study of small-.*is not a database.*COSMOS_STUDY_STORAGE$"):
        controller(small_sweep(tmp_path), tmp_path, Bench())


def test_a_deleted_trial_is_replaced_by_one_with_another_number(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(4))
    shutil.rmtree(lead.folder.run(lead.folder.trials[1]).path)
    again = controller(sweep, tmp_path, Bench())
    list(again.search(4))
    assert [record.number for record in again.folder.trials] == [0, 2, 3, 4]
    assert again.study.study_name == f"{sweep.id}-2"
    assert controller(sweep, tmp_path, Bench()).study.study_name == f"{sweep.id}-2"


def damage_record(folder: SweepDir, name: str, content: Any) -> None:
    record = folder.path / name / "trial.json"
    record.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        {"asked": {"pretrain.momentum": "high", "loss.distill_weight": 1.0}},
        {"asked": {"pretrain.momentum": 0.95}},
        {"asked": {"pretrain.momentum": 7, "loss.distill_weight": 1.0}},
        {"asked": {"no.such": 0.95}},
        {"values": {}},
        {"state": "resting"},
        {"number": "1"},
        {"values": {"x": "NaN"}},
    ],
)
def test_a_record_of_no_use_costs_one_trial_and_is_kept(tmp_path: Path, change: dict[str, Any]) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(3))
    values = json.loads((lead.folder.path / "trial-0001" / "trial.json").read_text())
    damage_record(lead.folder, "trial-0001", {**values, **change})
    before = (lead.folder.path / "trial-0001" / "trial.json").read_bytes()
    again = controller(sweep, tmp_path, Bench())
    list(again.search(3))
    assert (lead.folder.path / "trial-0001" / "trial.json").read_bytes() == before
    assert [trial.state.name for trial in again.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_record_that_is_damaged_while_its_trial_runs_is_kept_beside_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lead = controller(small_sweep(tmp_path), tmp_path, Bench(slow=True), parallel=1)
    search = lead.search(1)
    next(search)
    damage_record(lead.folder, "trial-0000", "{")
    assert [record.state for record in search] == ["finished"]
    assert (lead.folder.path / "trial-0000" / "trial.json.damaged-1").read_text() == "{"
    assert "kept as trial.json.damaged-1, and written anew" in caplog.text


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (errno.EIO, TransientError, r"study\.journal: .*Input/output error"),
        (errno.EACCES, InputError, r"study\.journal: .*Permission denied"),
    ],
)
def test_a_journal_that_cannot_be_read_now_is_kept_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[Exception], text: str
) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    content, path = lead.folder.journal.read_bytes(), lead.folder.journal

    def fail(self: Path) -> bytes:
        raise OSError(error, os.strerror(error), str(self)) if self == path else AssertionError

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(kind, match=text):
        controller(sweep, tmp_path, Bench())
    monkeypatch.undo()
    assert path.read_bytes() == content


def test_a_disk_that_fills_while_the_study_is_written_is_named_and_cut_lines_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(2))

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("optuna.storages.journal._file.os.fsync", fill_up)
    with pytest.raises(TransientError, match=r"study\.journal: No space left on device; free space"):
        list(lead.search(3))
    monkeypatch.undo()
    cut_last_line(lead.folder.journal)
    again = controller(sweep, tmp_path, Bench())
    list(again.search(3))
    assert [record.state for record in again.folder.trials] == ["finished"] * 3


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_syncs_keeps_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_syncs(monkeypatch, number)
    journal, line = Journal(tmp_path / "study.journal"), {"op_code": 0, "worker_id": "a"}
    journal.append_logs([line, line])
    journal.append_logs([line])
    assert list(journal.read_logs(0)) == [line] * 3


def test_the_conclusion_and_the_plots_need_no_study(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sweep: Sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(4))
    plots = [plot.title for plot in plot_study(lead.folder)]
    lead.folder.journal.write_text("{")
    assert [plot.title for plot in plot_study(lead.folder)] == plots != []
    assert lead.folder.journal.read_text() == "{"
