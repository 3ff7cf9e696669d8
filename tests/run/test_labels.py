from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    run, labels = RunDir(tmp_path), RunLabels("momentum-1a2b3c4d", "search", ("cc3m", "first try"))
    assert RunLabels.of(run) == RunLabels("", "pretrain", ())
    labels.write(run)
    assert RunLabels.of(run) == labels


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"group": 1}', '{"job_type": "x"}', '{"tags": 1}', '{"tags": "cc3m"}', '{"tags": [1]}'],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.labels.write_text(text)
    with pytest.raises(DamagedDataError, match=r"labels\.json: not a file of labels"):
        RunLabels.of(run)
