"""Values of images beside the results of runs: found by a figure, and refused where they are of another."""

from pathlib import Path

import numpy as np
import pytest

from cosmos.evaluation.value_file import write_image_values
from cosmos.registry.kept_values import RunValues, read_statistics
from cosmos.run.directory import RunDir
from cosmos.run.statistics.image_values import ImageValues
from tests.registry.run_files import keep_values

FIGURE = "retrieval/heldout/teacher/image_to_text_R@1"


def kept(folder: Path, name: str, hits: list[float], **changes: str) -> RunValues:
    run = RunDir(folder / name)
    keep_values(run, FIGURE, hits, **changes)
    return RunValues(run)


def test_values_of_seeds_make_the_interval_of_their_mean(tmp_path: Path) -> None:
    runs = [kept(tmp_path, "a", [1, 0, 0, 1]), kept(tmp_path, "b", [1, 0, 1, 1])]
    statistics = read_statistics(runs, FIGURE, [0.5, 0.75])
    assert np.array_equal(statistics.images.values, [[1, 0, 0, 1], [1, 0, 1, 1]])
    assert statistics.interval
    assert statistics.interval.low < 0.625 < statistics.interval.high


@pytest.mark.parametrize("change", [{"data_hash": "f" * 64}, {"image_set": "others"}])
def test_seeds_on_different_data_or_images_have_none_in_common(
    tmp_path: Path, change: dict[str, str]
) -> None:
    runs = [kept(tmp_path, "a", [1, 0]), kept(tmp_path, "b", [1, 0], **change)]
    assert read_statistics(runs, FIGURE, [0.5, 0.5]).interval is None
    assert read_statistics(runs[:1], FIGURE, [0.5]).interval


def test_values_of_an_earlier_result_losses_and_files_that_are_lost_or_damaged_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = kept(tmp_path, "a", [1, 0, 0, 1])
    assert read_statistics([run], FIGURE, [0.75]).interval is None
    assert read_statistics([run], "loss", [0.5]).interval is None
    assert read_statistics([run], "retrieval/heldout/student/image_to_text_R@1", [0.5]).interval is None
    assert read_statistics([RunValues(RunDir(tmp_path / "none"))], FIGURE, [0.5]).interval is None
    other = kept(tmp_path, "b", [1, 0])
    write_image_values(
        other.run.image_value_files[0], ImageValues("set", {"image_to_text_R@1": np.full(2, np.nan)})
    )
    assert read_statistics([other], FIGURE, [0.5]).interval is None
    assert not caplog.messages
    (file,) = run.run.image_value_files
    file.write_bytes(file.read_bytes()[:99])
    assert read_statistics([RunValues(run.run)], FIGURE, [0.5]).interval is None
    assert len(caplog.messages) == 1
    assert "delete it, and evaluate" in caplog.messages[0]
