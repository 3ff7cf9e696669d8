"""What identifies the stages of the pipeline: values that decide, and code that computes."""

import ast
import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml

from cosmos.config import identity
from cosmos.config.experiment import load_experiment
from cosmos.pipeline.identity import STAGE_CODE, dump_identity
from cosmos.run import code_fingerprint
from cosmos.run.code_fingerprint import imported_modules, module_computation

ROOT = Path(__file__).parents[2]


def fingerprints() -> dict[str, str]:
    module_computation.cache_clear()
    imported_modules.cache_clear()
    return {stage: code.fingerprint() for stage, code in STAGE_CODE.items()}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose fingerprints are taken; files that are as they were are parsed once."""
    shutil.copytree(ROOT / "cosmos", tmp_path / "cosmos")
    monkeypatch.setattr(code_fingerprint, "ROOT", tmp_path)
    monkeypatch.setattr(ast, "parse", cache(ast.parse))
    monkeypatch.setattr(code_fingerprint, "computation", cache(code_fingerprint.computation))
    return tmp_path / "cosmos"


def test_docstrings_change_no_stage_and_computations_those_that_import_them(
    package: Path,
) -> None:
    before = fingerprints()
    for path in package.rglob("*.py"):
        path.write_text(path.read_text() + '\n"""Another text."""\n# and a comment\n')
    assert fingerprints() == before
    for file, stages in {
        "training/step.py": {"pretrain"},
        "data/shards/samples.py": {"prepare", "pretrain", "evaluate", "report"},
        "report/page.py": {"report"},
        "evaluation/embed.py": {"evaluate", "report"},
        "run/metrics.py": set(),
    }.items():
        (package / file).write_text((package / file).read_text() + "FURTHER = 1\n")
        after = fingerprints()
        assert {stage for stage in before if before[stage] != after[stage]} == stages
        before = after


def test_prompts_and_templates_are_code_too(package: Path) -> None:
    before = fingerprints()
    for file, stages in {
        "evaluation/prompts.json": {"evaluate"},
        "report/templates/page.css": {"report"},
        "report/published.json": {"evaluate", "report"},
    }.items():
        (package / file).write_text("{}")
        after = fingerprints()
        assert {stage for stage in before if before[stage] != after[stage]} == stages
        before = after
    module_computation.cache_clear()
    imported_modules.cache_clear()


def test_an_added_knob_at_its_default_is_not_in_the_file_and_another_value_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as if pretrain.seed had come later
    monkeypatch.setattr(identity, "ADDED_KNOBS", {"pretrain.seed": 0})
    asked = {"pretrain": {"seed": 1}}
    plain, other = (
        yaml.safe_load(dump_identity(load_experiment("", overrides, ROOT / "params.yaml")))
        for overrides in ({}, asked)
    )
    assert "seed" not in plain["pretrain"]
    assert other["pretrain"] == {**plain["pretrain"], "seed": 1}
