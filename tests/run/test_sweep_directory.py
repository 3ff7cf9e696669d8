import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError, InputError, SupersededError
from cosmos.run.directory import RunDir
from cosmos.run.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from tests.search.examples import RECALL, small_sweep


def test_a_sweep_is_found_by_folder_by_id_and_by_name(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / "runs" / sweep.id)
    folder.write_definition(sweep)
    for name in (str(folder.path), sweep.id, "small"):
        assert find_sweep_dir(name, tmp_path / "runs") == folder
    assert folder.sweep() == sweep
    with pytest.raises(ValueError, match=r"smal: no sweep in .*; near it: small"):
        find_sweep_dir("smal", tmp_path / "runs")


def test_records_of_the_first_release_are_read(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    values = {"sweep": "small-1a2b3c4d", "number": 3, "seed": 0, "asked": {}, "state": "finished"}
    run.trial.write_text(
        json.dumps({**values, "attempts": 1, "values": {RECALL: 0.5}, "problem": "", "job": "7"})
    )
    assert TrialRecord.of(run) == TrialRecord(
        "small-1a2b3c4d", 3, 0, {}, "finished", 1, {RECALL: 0.5}, "", "7"
    )


ASKED = {"pretrain.momentum": 0.99, "loss.distill_weight": 1.0}
RECORD = {"sweep": "small-1a2b3c4d", "number": 3, "seed": 0, "asked": ASKED}


def write_trial(folder: Path, name: str, content: object) -> RunDir:
    run = RunDir(folder / name)
    run.path.mkdir(parents=True)
    run.trial.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return run


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"null", "Input should be an object"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 5_000, "Invalid JSON"),
        (b'{"number": ' + b"9" * 6_000 + b"}", "a number of 400 digits"),
        ({**RECORD, "number": "3"}, "number: Input should be a valid integer"),
        ({**RECORD, "number": 100_000}, "number: Input should be less than 100000"),
        ({**RECORD, "seed": -1}, "seed: Input should be greater than or equal to 0); restore it, or delete"),
        ({**RECORD, "state": "halted"}, "state: Input should be 'running'"),
        ({**RECORD, "values": {RECALL: "0.5"}}, "Input should be a valid number"),
        (json.dumps({**RECORD, "values": {RECALL: math.inf}}).encode(), "finite number"),
        (json.dumps({**RECORD, "values": {RECALL: math.nan}}).encode(), "finite number"),
        ({**RECORD, "asked": [1]}, "asked: Input should be"),
        ({**RECORD, "asked": {**ASKED, "pretrain.momentum": 7.0}}, "asked: not values of the search space"),
        ({**RECORD, "asked": {**ASKED, "pretrain.momentum": True}}, "asked: not values of the search space"),
        ({**RECORD, "asked": {"pretrain.momentum": 0.99}}, "asked: not values of the search space"),
        ({**RECORD, "number": 4}, "the record of trial-0004, in a folder of another name"),
        ({**RECORD, "seed": 2}, "the record of trial-0003-seed-2, in a folder of another name"),
        ({**RECORD, "sweep": "small-5e6f7a8b"}, "the record of a trial of small-5e6f7a8b"),
    ],
)
def test_a_record_of_no_use_is_a_line_that_names_the_file_and_hides_no_other(
    tmp_path: Path, content: object, reason: str
) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / sweep.id)
    folder.write_definition(sweep)
    if isinstance(content, dict) and content["sweep"] == "small-1a2b3c4d":
        content = {**content, "sweep": sweep.id}
    write_trial(folder.path, "trial-0003", content)
    write_trial(
        folder.path, "trial-0004", {**RECORD, "sweep": sweep.id, "number": 4, "of a later version": 1}
    )
    (folder.path / "trial-0007").mkdir()  # killed before it was begun
    trials = folder.read_trials()
    assert [record.number for record in trials.records] == [4] == [record.number for record in folder.trials]
    assert list(trials.problems) == ["trial-0003"]
    (problem,) = trials.problems.values()
    assert problem.startswith(f"{folder.path}/trial-0003/trial.json: ")
    assert reason in problem
    assert "\n" not in problem
    assert trials.num_numbers == 5


def test_a_folder_that_was_renamed_copied_or_lost_its_record_is_named(tmp_path: Path) -> None:
    folder = SweepDir(tmp_path / "small-1a2b3c4d")
    for name in ("trial-0003-backup", "trial-00003", "trial-9999999"):
        write_trial(folder.path, name, RECORD)
    lost = write_trial(folder.path, "trial-0005", RECORD)
    lost.trial.rename(lost.params)
    write_trial(folder.path, "trial-0006", RECORD).trial.unlink()
    (folder.path / "trial-0006" / "trial.json").mkdir()
    trials = folder.read_trials()
    assert (trials.records, trials.num_numbers) == ([], 7)
    problems = list(trials.problems.values())
    assert [problem.count("in a folder of another name") for problem in problems] == [1, 1, 0, 0, 1]
    assert "No such file or directory; restore it, or delete" in problems[2]
    assert "Is a directory; restore it, or delete" in problems[3]


def test_records_stay_readable_where_the_sweeps_folder_was_renamed_and_its_definition_is_damaged(
    tmp_path: Path,
) -> None:
    folder = SweepDir(tmp_path / "kept")
    write_trial(folder.path, "trial-0003", RECORD)
    folder.definition.write_text("{")
    assert [record.number for record in folder.trials] == [3]


def test_a_record_that_has_ended_is_never_written_again(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    record = TrialRecord("small-1a2b3c4d", 3, 0, {})
    for state in (record, replace(record, job="7"), replace(record, state="failed", problem="its node")):
        state.write(run)
        state.write(run)
    before = run.trial.stat().st_ino, run.trial.read_bytes()
    replace(record, state="failed", problem="its node").write(run)
    for state in (record, replace(record, state="finished", values={RECALL: 0.5})):
        with pytest.raises(SupersededError, match=r"trial\.json: the trial has failed, as another process"):
            state.write(run)
    assert (run.trial.stat().st_ino, run.trial.read_bytes()) == before


@pytest.mark.parametrize(
    "text",
    [
        "name: small\n",
        "sweep: [], base: []\n",
        "{name: a, sweep: {objectives: [1]}}",
        "[" * 2_000,
        "",
        "name: [a]\nsweep: {space: 3}",
        "a: 1\n\0\0",
    ],
    ids=range(7),
)
def test_a_damaged_definition_is_named_in_a_line(tmp_path: Path, text: str) -> None:
    folder = SweepDir(tmp_path)
    folder.definition.write_text(text)
    with pytest.raises((DamagedDataError, InputError), match=r"sweep\.yaml(, line \d+)?: ") as raised:
        folder.sweep()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"base": {"model": {"x": 1, "y": 2}}},
            r"\(model\.x: Extra inputs are not permitted\); `cosmos sweep`",
        ),
        ({"name": ["small"]}, r"\(name: \['small'\]\)"),
        ({"data": None}, r"\(data: None\)"),
    ],
)
def test_a_definition_with_wrong_values_names_the_first(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    folder = SweepDir(tmp_path)
    folder.definition.write_text(json.dumps({**small_sweep(tmp_path).dump(), **change}))
    with pytest.raises(DamagedDataError, match=f"not the definition of a sweep {reason}"):
        folder.sweep()


def test_a_definition_whose_objective_has_no_goal_is_damaged(tmp_path: Path) -> None:
    folder = SweepDir(tmp_path)
    values = small_sweep(tmp_path).dump()
    values["sweep"]["objectives"] = [{"figure": "grad_norm", "goal": ""}]
    folder.definition.write_text(json.dumps(values))
    with pytest.raises(DamagedDataError, match=r"sweep\.yaml: not the definition .*one has no goal"):
        folder.sweep()


@pytest.mark.parametrize("name", ["small", "small-1a2b"])
def test_a_definition_that_was_lost_is_named(tmp_path: Path, name: str) -> None:
    trial = TrialRecord("small-1a2b", 0, 0, {})
    trial.write(SweepDir(tmp_path / "small-1a2b").run(trial))
    with pytest.raises(DamagedDataError, match=r"small-1a2b/sweep\.yaml: missing; put it back"):
        find_sweep_dir(name, tmp_path)
