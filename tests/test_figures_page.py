"""docs/figures.md: a row for every figure that is measured."""

import re
from pathlib import Path

import pytest

from cosmos.config.figures import SUITE_METRICS, TRAINING_METRICS, Metric
from cosmos.run.metrics import read_metrics
from tests.training.examples import batches, make_trainer, params

PAGE = (Path(__file__).parent.parent / "docs" / "figures.md").read_text(encoding="utf-8")
METRICS = {
    "Training": TRAINING_METRICS,
    **{suite.capitalize(): SUITE_METRICS[suite] for suite in SUITE_METRICS},
}


def rows_of(section: str) -> dict[str, list[str]]:
    """Cells of the tables of a section, by the names of figures in the first one."""
    text = re.split(rf"^##+ {section}$", PAGE, flags=re.MULTILINE)[1].split("\n#")[0]
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {name: cells for cells in lines for name in re.findall("`(.+?)`", cells[0])}


def key_of(metric: Metric) -> str:
    """Name of a metric on the page."""
    if not metric.is_family:
        return metric.name
    return metric.key("<class>") if metric.name else "<kind>"


@pytest.mark.parametrize("section", METRICS)
def test_every_metric_has_a_row_with_its_unit_and_every_row_is_of_a_metric(section: str) -> None:
    rows = rows_of(section)
    assert rows.keys() == {key_of(metric) for metric in METRICS[section]}
    for metric in METRICS[section]:
        _, meaning, unit, extent = (cell.strip() for cell in rows[key_of(metric)])
        assert (bool(meaning), unit, bool(extent)) == (True, metric.unit, True), metric.name


def test_every_value_of_a_line_of_training_has_a_row(tmp_path: Path) -> None:
    make_trainer(tmp_path, params()).train(batches(0, 1))
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert line.keys() <= rows_of("Training").keys()
