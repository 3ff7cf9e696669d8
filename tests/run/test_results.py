from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError
from cosmos.run.results import Results, read_result_figures


def test_an_entry_replaces_the_one_of_its_dataset_and_no_other(tmp_path: Path) -> None:
    results = Results(tmp_path / "retrieval.json", "retrieval")
    assert results.entries() == {}
    for dataset, value in (("coco", 0.1), ("flickr8k", 0.2), ("coco", 0.3)):
        results.put(dataset, {"identity": "a", "models": {"teacher": {"R@1": value}}})
    recalls = {name: entry["models"]["teacher"]["R@1"] for name, entry in results.entries().items()}
    assert recalls == {"coco": 0.3, "flickr8k": 0.2}


def test_what_was_measured_under_another_identity_is_not_this(tmp_path: Path) -> None:
    results = Results(tmp_path / "retrieval.json", "retrieval")
    results.put("coco", {"identity": "a", "models": {"teacher": {"R@1": 0.1}}})
    assert results.measured("coco", "a") == {"teacher": {"R@1": 0.1}}
    assert results.measured("coco", "b") == {}
    assert results.measured("flickr8k", "a") == {}


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"datasets": 1', '{"datasets": 1}', "3"])
def test_a_file_of_another_form_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "retrieval.json"
    path.write_text(content)
    with pytest.raises(DamagedDataError, match=r"retrieval\.json: not a file of results .*; delete it"):
        Results(path, "retrieval").entries()


@pytest.mark.parametrize("entry", ["3", "{}", '{"models": []}', '{"models": {"teacher": 3}}'])
def test_an_entry_of_another_form_is_damage_of_its_file(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "retrieval.json"
    path.write_text(f'{{"datasets": {{"coco": {entry}}}}}')
    with pytest.raises(DamagedDataError, match=r"retrieval\.json: not a file of results .*; delete it"):
        read_result_figures(path)
