"""dvc.yaml, params.yaml, the commands and the code say the same."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
import yaml

from cosmos.cli import CosmosCommand
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.params import Params
from cosmos.pipeline.dvc import STAGES

ROOT = Path(__file__).parent.parent
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
RESOLVED = "pipeline/experiment.yaml"

DECIDES_NO_RESULT = {
    *("cosmos.config.machine", "cosmos.run", "cosmos.distributed", "cosmos.tracking", "cosmos.stages.logs"),
    "cosmos.errors",
}
SETTINGS = {
    "cosmos.config.experiment",
    "cosmos.config.params",
    "cosmos.config.evaluate_params",
    "cosmos.config.job_request",
    "cosmos.config.section",
}
"""What they resolve to is a stage's parameter."""

CODE = {
    "params": ("cosmos.config.experiment", {"cosmos.run.files", "cosmos.errors"}),
    "prepare": ("cosmos.stages.prepare", DECIDES_NO_RESULT | SETTINGS),
    # evaluations while training change no weight, and the tables of evaluate no figure
    "pretrain": ("cosmos.stages.pretrain", DECIDES_NO_RESULT | SETTINGS | {"cosmos.evaluation"}),
    "evaluate": (
        "cosmos.stages.evaluate",
        DECIDES_NO_RESULT | SETTINGS | {"cosmos.training", "cosmos.data.demo_world", "cosmos.report"},
    ),
    "report": ("cosmos.pipeline.report", DECIDES_NO_RESULT | SETTINGS),
}
"""Where a stage's code begins, and which modules decide nothing about what the stage makes."""


def sections(stage: str) -> list[str]:
    return [key for entry in DVC["stages"][stage].get("params", []) for key in entry[RESOLVED]]


def leaf(model: Any, path: str) -> Any:
    key, _, rest = path.partition(".")
    kind = model.model_fields[key].annotation
    return leaf(kind, rest) if rest else kind


def listed_modules(stage: str) -> set[str]:
    code = [dep for dep in DVC["stages"][stage]["deps"] if dep.startswith("cosmos/")]
    missing = [dep for dep in code if not (ROOT / dep).exists()]
    assert missing == []
    paths = [path for dep in code for path in (sorted((ROOT / dep).rglob("*")) or [ROOT / dep])]
    return {name(path) for path in paths if path.suffix == ".py" and path.name != "__init__.py"}


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(graph: grimp.ImportGraph, entry: str, cut: set[str]) -> Iterator[str]:
    seen, left = set[str](), [entry]
    while left:
        module = left.pop()
        if module in seen or any(module == c or module.startswith(f"{c}.") for c in cut):
            continue
        seen.add(module)
        left += graph.find_modules_directly_imported_by(module)
        if (ROOT / module.replace(".", "/")).with_suffix(".py").exists():
            yield module


def test_every_section_of_the_parameters_belongs_to_a_stage() -> None:
    found = {path.split(".")[0] for stage in DVC["stages"] for path in sections(stage)}
    assert found == set(Params.model_fields)


@pytest.mark.parametrize("stage", DVC["stages"])
def test_stages_depend_on_parameters_that_exist(stage: str) -> None:
    for path in sections(stage):
        for suite in get_args(SuiteName):
            assert leaf(Params, path.replace("${item.suite}", suite))


def test_evaluation_is_a_stage_for_each_suite() -> None:
    assert DVC["stages"]["evaluate"]["matrix"] == {"suite": list(get_args(SuiteName))}
    reported = {dep for dep in DVC["stages"]["report"]["deps"] if dep.startswith("pipeline/results/")}
    assert reported == {f"pipeline/results/{suite}" for suite in get_args(SuiteName)}


def test_whoever_drives_the_pipeline_knows_its_stages() -> None:
    assert list(dict.fromkeys(stage.split("@")[0] for stage in ("params", *STAGES))) == list(DVC["stages"])


@pytest.mark.parametrize("stage", DVC["stages"])
def test_commands_of_stages_exist_and_take_these_options(stage: str) -> None:
    words = [word for word in shlex.split(DVC["stages"][stage]["cmd"]) if not word.startswith("COSMOS_")]
    assert words[0] == "cosmos"
    command = CosmosCommand.model_fields[words[1]].annotation
    options = get_args(command)[0].model_fields
    for word in words:
        if word.startswith("--"):
            assert word[2:] in options


@pytest.mark.parametrize("stage", CODE)
def test_a_stage_depends_on_the_code_that_it_runs_and_on_no_other(stage: str) -> None:
    entry, cut = CODE[stage]
    assert listed_modules(stage) == set(imported(grimp.build_graph("cosmos"), entry, cut))
