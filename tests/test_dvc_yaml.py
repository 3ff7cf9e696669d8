"""dvc.yaml, params.yaml, the commands and the code say the same."""

import configparser
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
import yaml
from dvc_render import render_html
from dvc_render.vega import VegaRenderer

from cosmos.cli.commands import COMMANDS
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import load_experiment
from cosmos.config.params import Params
from cosmos.pipeline.dvc import STAGES
from cosmos.pipeline.identity import STAGE_CODE, dump_identity
from cosmos.run.code_fingerprint import ImportedCode, module_file

ROOT = Path(__file__).parent.parent
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
IDENTITY = "pipeline/identity.yaml"
OTHER_TEMPLATES = {
    f"cosmos/report/templates/{name}.html"
    for name in (
        *("comparison", "curves", "differences", "batch"),
        *("changed", "fails", "sees", "gallery_parts", "plan"),
    )
}
"""Parts of pages of runs and comparisons, which no stage reads."""


def identity_paths(stage: str) -> list[str]:
    return [key for entry in DVC["stages"][stage].get("params", []) for key in entry[IDENTITY]]


def leaf(values: Any, path: str) -> Any:
    key, _, rest = path.partition(".")
    return leaf(values[key], rest) if rest else values[key]


def imported(graph: grimp.ImportGraph, code: ImportedCode) -> set[str]:
    """The modules that grimp sees imported, with those of the package itself, and without packages."""
    seen, left = set[str](), ["cosmos", code.entry]
    while left:
        module = left.pop()
        if module not in seen and not code.ignores(module):
            seen.add(module)
            left += graph.find_modules_directly_imported_by(module)
    return {module for module in seen if is_module(module)}


def is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


def test_every_section_of_the_parameters_belongs_to_a_stage() -> None:
    sections = {path.split(".")[0] for stage in DVC["stages"] for path in identity_paths(stage)}
    assert sections == {*Params.model_fields, "experiment", "code"}


@pytest.mark.parametrize("stage", DVC["stages"])
def test_stages_depend_on_what_the_file_of_identities_holds(stage: str) -> None:
    values = yaml.safe_load(dump_identity(load_experiment("", base=ROOT / "params.yaml")))
    for path in identity_paths(stage):
        for suite in get_args(SuiteName):
            leaf(values, path.replace("${item.suite}", suite))


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
    options = COMMANDS[words[1]].load().model_fields
    for word in words:
        if word.startswith("--"):
            assert word[2:] in options


def test_every_stage_depends_on_its_code_by_what_that_computes_and_the_first_on_all_of_it() -> None:
    first, *stages = DVC["stages"]
    assert list(STAGE_CODE) == stages
    assert "cosmos" in DVC["stages"][first]["deps"]
    for stage in stages:
        assert f"code.{stage}" in identity_paths(stage)
        assert [dep for dep in DVC["stages"][stage].get("deps", []) if dep.startswith("cosmos")] == []


@pytest.mark.parametrize("stage", STAGE_CODE)
def test_the_code_of_a_stage_is_what_it_imports_and_no_other(stage: str) -> None:
    code = STAGE_CODE[stage]
    assert {name for name in code.modules() if is_module(name)} == imported(grimp.build_graph("cosmos"), code)


@pytest.mark.parametrize("name", sorted({name for code in STAGE_CODE.values() for name in code.ignored}))
def test_what_a_stage_ignores_exists(name: str) -> None:
    assert module_file(name)


def test_every_file_of_the_package_that_is_no_code_belongs_to_a_stage() -> None:
    listed = {name for code in STAGE_CODE.values() for name in code.files}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "cosmos").rglob("*") if path.is_file()}
    assert {name for name in files if not name.endswith((".py", ".pyc"))} == listed | OTHER_TEMPLATES


def test_files_that_dvc_does_not_cache_are_left_to_git_and_outlive_a_failure() -> None:
    outputs = [
        path
        for stage in DVC["stages"].values()
        for output in (*stage.get("outs", []), *stage.get("metrics", []))
        if isinstance(output, dict)
        for path, options in output.items()
        if options.get("cache") is False and options.get("persist")
    ]
    assert len(outputs) == (ROOT / "dvc.yaml").read_text().count("cache: false")
    assert "pipeline/identity.yaml" in outputs
    ignored = subprocess.run(["git", "check-ignore", *outputs], cwd=ROOT, capture_output=True, text=True)
    assert (ignored.returncode, ignored.stdout) == (1, "")


def test_plots_are_drawn_without_a_network_and_are_no_files_of_git(tmp_path: Path) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    template = ROOT / ".dvc" / config["plots"]["html_template"]
    points = [{"step": i, "loss": 1 / i, "rev": rev} for rev in ("v1", "v2") for i in range(1, 9)]
    drawn = VegaRenderer(points, "loss", x="step", y="loss", title="Loss")
    page = Path(render_html([drawn], tmp_path / "plots" / "index.html", template)).read_text()
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "src=" not in "".join(re.findall(r"<script[^>]*>", page)) + outside_scripts
    subprocess.run(["git", "check-ignore", "dvc_plots/index.html"], cwd=ROOT, check=True)
