import json
import math
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError
from cosmos.registry.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from cosmos.run.directory import RunDir
from tests.search.examples import RECALL, small_sweep, write_sweep


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


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / sweep.id)
    run = folder.run(TrialRecord("small", 0, 0, {}, "finished", 1, {RECALL: math.pi}))
    run.path.mkdir(parents=True)
    for content in (b"{", b"\xff\xfe"):
        run.trial.write_bytes(content)
        with pytest.raises(DamagedDataError, match=r"trial\.json: not the record of a trial"):
            folder.trials  # noqa: B018
    for text in ("name: small\n", "sweep: [], base: []\n", "{name: a, sweep: {objectives: [1]}}"):
        folder.definition.write_text(text)
        with pytest.raises(ValueError, match=r"sweep\.yaml(, line 1)?: not "):
            folder.sweep()
    assert write_sweep(tmp_path / "small.yaml").exists()


def test_a_definition_whose_objective_has_no_goal_is_damaged(tmp_path: Path) -> None:
    folder = SweepDir(tmp_path)
    values = small_sweep(tmp_path).dump()
    values["sweep"]["objectives"] = [{"figure": "grad_norm", "goal": ""}]
    folder.definition.write_text(json.dumps(values))
    with pytest.raises(DamagedDataError, match=r"sweep\.yaml: not the definition .*one has no goal"):
        folder.sweep()
