from pathlib import Path
from typing import Any

from cosmos.run.directory import RunDir
from cosmos.run.results import Results
from cosmos.stages.evaluation_result import EvaluationResult, is_result_file, picture_path, publish_results
from tests.crash_points import killed_at_each_operation


def measured(run: RunDir, recall: float) -> EvaluationResult:
    """Results of an evaluation of two suites, as it leaves them in the run, with a picture."""
    evaluated: dict[str, dict[str, Any]] = {}
    for suite in ("retrieval", "segmentation"):
        results = Results(run.result_file(suite), suite)
        entry = results.put("demo", {"identity": "a", "models": {"teacher": {"R@1": recall}}})
        picture_path(results.path, "demo", entry["data_hash"], "teacher").write_bytes(b"picture")
        evaluated[suite] = {"demo": entry}
    return EvaluationResult(evaluated, [], is_first=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_results_are_published_whole_or_not_at_all_whenever_the_process_is_killed(tmp_path: Path) -> None:
    run, output = RunDir(tmp_path / "run"), tmp_path / "there" / "output"
    new = measured(run, 0.2)
    publish_results(new, run, "", output)
    after = contents(output)
    old = measured(run, 0.1)
    publish_results(old, run, "", output)
    before = contents(output)
    assert all(map(is_result_file, before))
    for _ in killed_at_each_operation(lambda: publish_results(new, run, "", output), output.parent):
        assert contents(output) in (before, after)
        publish_results(new, run, "", output)
        assert contents(output) == after
        publish_results(old, run, "", output)


def test_entries_are_whole_whenever_the_process_that_puts_one_is_killed(tmp_path: Path) -> None:
    results = Results(tmp_path / "run" / "retrieval.json", "retrieval")

    def put(dataset: str, recall: float) -> None:
        results.put(dataset, {"identity": "a", "models": {"teacher": {"R@1": recall}}})

    put("coco", 0.1)
    for _ in killed_at_each_operation(lambda: put("flickr8k", 0.2), tmp_path):
        assert {"coco"} <= set(results.entries()) <= {"coco", "flickr8k"}
        put("flickr8k", 0.2)
        assert set(results.entries()) == {"coco", "flickr8k"}
        results.path.unlink()
        put("coco", 0.1)
