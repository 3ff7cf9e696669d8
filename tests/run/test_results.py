import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.errors import DamagedDataError
from cosmos.run.directory import RunDir
from cosmos.run.files import write_text
from cosmos.run.results import Results, image_values_path, read_result_figures, results_of_checkpoint


def test_an_entry_replaces_the_one_of_its_dataset_and_no_other(tmp_path: Path) -> None:
    results = Results(tmp_path / "retrieval.json", "retrieval")
    assert results.entries() == {}
    for dataset, value in (("coco", 0.1), ("flickr8k", 0.2), ("coco", 0.3)):
        results.put(dataset, {"identity": "a", "models": {"teacher": {"R@1": value}}})
    recalls = {name: entry["models"]["teacher"]["R@1"] for name, entry in results.entries().items()}
    assert recalls == {"coco": 0.3, "flickr8k": 0.2}


def test_checkpoints_of_one_label_have_results_of_their_own(tmp_path: Path) -> None:
    run, names = RunDir(tmp_path), ("a/b.pt", "a-b.pt", "a:b.pt", "./a/b.pt")
    for name in names[:3]:
        entry = {"identity": name, "models": {}, "checkpoint": name, "checkpoint_sha256": "", "data": {}}
        results_of_checkpoint(run, "retrieval", name).put("coco", entry)
    results = [results_of_checkpoint(run, "retrieval", name) for name in names]
    assert [result.entries()["coco"]["checkpoint"] for result in results] == [*names[:3], "a/b.pt"]
    assert results[0].path.name == "retrieval-a-b.pt.json"  # as before there were hashes


def test_what_was_measured_under_another_identity_is_not_this(tmp_path: Path) -> None:
    results = Results(tmp_path / "retrieval.json", "retrieval")
    results.put("coco", {"identity": "a", "models": {"teacher": {"R@1": 0.1}}})
    entry = results.find("coco", "a")
    assert entry
    assert entry["models"] == {"teacher": {"R@1": 0.1}}
    assert results.find("coco", "b") is None
    assert results.find("flickr8k", "a") is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"datasets": 1', '{"datasets": 1}', "3"])
def test_a_file_of_another_form_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "retrieval.json"
    path.write_text(content)
    with pytest.raises(DamagedDataError, match=r"retrieval\.json: not a file of results .*; delete it"):
        Results(path, "retrieval").entries()


def entry_json(**parts: Any) -> str:
    """An entry as a file holds it, with other values for some keys."""
    return json.dumps({**entry(0.1, "a"), **parts})


def entry(recall: float, data: str, **parts: Any) -> dict[str, Any]:
    files = {"data/manifest.json": data * 64} if data else {}
    models = {"teacher": {"R@1": recall}}
    return {"models": models, "checkpoint": "x.pt", "checkpoint_sha256": "5", "data": files, **parts}


DAMAGE: list[dict[str, Any]] = [
    *({"models": []}, {"models": {"teacher": 3}}, {"models": {"teacher": {"R@1": "high"}}}),
    *({"data": []}, {"data": {"file": 3}}, {"checkpoint_sha256": None}),
    *({"num_images": [[]]}, {"chance": {"R@1": "low"}}, {"published": {"checkpoint": []}}),
    *({"dataset": "../coco"}, {"models": {"a/b": {"R@1": 0.1}}}),
]


@pytest.mark.parametrize("damaged", ["3", "{}", '{"models": {}}', *(entry_json(**parts) for parts in DAMAGE)])
def test_an_entry_of_another_form_is_damage_of_its_file(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "retrieval.json"
    path.write_text(f'{{"datasets": {{"coco": {damaged}}}}}')
    for read in (read_result_figures, lambda path: Results(path, "retrieval").find("coco", "")):
        with pytest.raises(DamagedDataError, match=r"retrieval\.json: not a file of results .*; delete it"):
            read(path)


class TestDataOfOneName:
    """Two datasets of one name have an entry each, and one name in every list."""

    def results(self, folder: Path, *entries: dict[str, Any]) -> Results:
        results = Results(folder / "retrieval.json", "retrieval")
        for measured in entries:
            results.put("heldout", measured)
        return results

    def recalls(self, results: Results) -> dict[str, float]:
        return {name: entry["models"]["teacher"]["R@1"] for name, entry in results.entries().items()}

    def test_neither_overwrites_the_other(self, tmp_path: Path) -> None:
        results = self.results(tmp_path, entry(0.1, "a"), entry(0.2, "b"), entry(0.3, "a"))
        assert self.recalls(results) == {"heldout@bbbbbbbb": 0.2, "heldout": 0.3}
        assert results.data_hashes()["retrieval/heldout@bbbbbbbb"] == "b" * 64
        assert results.figures() == {
            "retrieval/heldout/teacher/R@1": 0.3,
            "retrieval/heldout@bbbbbbbb/teacher/R@1": 0.2,
        }

    def test_the_plain_name_is_that_of_the_runs_own_data(self, tmp_path: Path) -> None:
        own, other = entry(0.1, "a", own_data=True), entry(0.2, "b", own_data=False)
        assert self.recalls(self.results(tmp_path, own, other)) == {"heldout": 0.1, "heldout@bbbbbbbb": 0.2}

    def test_data_that_is_known_to_be_another_comes_after_data_of_which_that_is_not_recorded(
        self, tmp_path: Path
    ) -> None:
        results = self.results(tmp_path, entry(0.1, "a"), entry(0.2, "b", own_data=False))
        assert self.recalls(results) == {"heldout": 0.1, "heldout@bbbbbbbb": 0.2}

    def test_the_only_data_has_the_plain_name(self, tmp_path: Path) -> None:
        assert self.recalls(self.results(tmp_path, entry(0.2, "b", own_data=False))) == {"heldout": 0.2}

    def test_data_without_files_differs_by_the_number_of_its_items(self, tmp_path: Path) -> None:
        results = self.results(
            tmp_path, entry(0.1, "", num_images=5), entry(0.2, "", num_images=6), entry(0.3, "", num_images=5)
        )
        assert list(self.recalls(results).values()) == [0.2, 0.3]


class TestOlderFiles:
    """Files of the version that keyed results by the name of the dataset alone."""

    def write(self, folder: Path, **entries: Any) -> Results:
        path = folder / "retrieval.json"
        path.write_text(json.dumps({"suite": "retrieval", "datasets": entries}))
        return Results(path, "retrieval")

    def test_they_are_keyed_by_what_they_hold(self, tmp_path: Path) -> None:
        both = {**entry(0.2, ""), "data": {"x": "1", "y": "2"}}
        results = self.write(tmp_path, heldout=entry(0.1, "a"), both=both)
        hashes = results.data_hashes()
        assert hashes["retrieval/heldout"] == "a" * 64
        assert hashes["retrieval/both"] == hashlib.sha256(b"1\n2").hexdigest()

    def test_a_measurement_of_the_same_data_replaces_theirs(self, tmp_path: Path) -> None:
        results = self.write(tmp_path, crops=entry(0.1, "", num_images=5), heldout=entry(0.1, "a"))
        results.put("crops", entry(0.2, "b", num_images=5))
        results.put("heldout", entry(0.2, "a"))
        assert set(results.entries()) == {"crops", "heldout"}

    def test_a_measurement_of_other_data_does_not(self, tmp_path: Path) -> None:
        results = self.write(tmp_path, heldout=entry(0.1, "a"))
        results.put("heldout", entry(0.2, "b", own_data=True))
        assert set(results.entries()) == {"heldout@aaaaaaaa", "heldout"}


def test_values_of_sets_with_long_names_have_files_of_their_own(tmp_path: Path) -> None:
    paths = [
        image_values_path(tmp_path / "retrieval.json", "名" * count, "da7a" * 16, model)
        for count in (84, 83, 20)
        for model in ("student", "teacher")
    ]
    assert len(set(paths)) == len(paths)
    for path in paths:
        write_text(path, "")
    assert paths[-1].name == f"retrieval-{'名' * 20}@da7ada7a-teacher.npz"
