"""Galleries as tables, which outlive a file."""

from pathlib import Path

from cosmos.report.gallery_tables import gallery_tables
from cosmos.run.directory import RunDir
from cosmos.run.gallery_tables import GalleryPicture, GalleryTable, read_gallery_tables, write_gallery_tables
from tests.report.galleries.examples import NO_SIGHTS, galleries
from tests.report.test_gallery_sections import everything


def pictures_in(table: GalleryTable) -> int:
    return sum(isinstance(cell, GalleryPicture) and bool(cell.uri) for row in table.rows for cell in row)


def test_each_dataset_has_a_table_of_the_answers_that_the_report_shows(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write_gallery_tables(run, gallery_tables(everything("mine")))
    tables = read_gallery_tables(run)
    suites = ("retrieval", "classification", "segmentation", "perception")
    assert [name.split("/")[0] for name in tables] == [*suites, "sights"]
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert pictures_in(table)
    retrieval, confusions, _, pairs, sights = tables.values()
    assert ["plain", "Worst miss", 1] in [[row[0], row[1], row[2]] for row in retrieval.rows]
    assert list(confusions.rows[0][:4]) == ["plain", "green", 1, 1]
    assert list(pairs.rows[0])[2] == "plain"
    assert {row[2] for row in sights.rows} == {"student", "teacher"}


def test_what_was_not_looked_at_has_no_table() -> None:
    assert gallery_tables(galleries()) == {}
    assert galleries().sights == NO_SIGHTS
