import math
from pathlib import Path

import pytest

from cosmos.registry.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from tests.search.examples import RECALL, small_sweep, write_sweep


def test_a_sweep_is_found_by_folder_by_id_and_by_name(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / "runs" / sweep.id)
    folder.write_definition(sweep)
    for name in (str(folder.path), sweep.id, "small"):
        assert find_sweep_dir(name, tmp_path / "runs") == folder
    assert folder.sweep() == sweep
    with pytest.raises(ValueError, match=rf"smal: no sweep in .*; there are: {sweep.id}"):
        find_sweep_dir("smal", tmp_path / "runs")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    folder = SweepDir(tmp_path / sweep.id)
    run = folder.run(TrialRecord("small", 0, 0, {}, "finished", 1, {RECALL: math.pi}))
    run.path.mkdir(parents=True)
    run.trial.write_text("{")
    with pytest.raises(ValueError, match=r"trial\.json: not the record of a trial"):
        folder.trials  # noqa: B018
    folder.definition.write_text("name: small\n")
    with pytest.raises(ValueError, match=r"sweep\.yaml: not the definition of a sweep"):
        folder.sweep()
    assert write_sweep(tmp_path / "small.yaml").exists()
