"""Pipelines of flows: parameters and stages in a folder of their own; params.yaml is only read."""

import shutil
from pathlib import Path

import pytest
import yaml

from cosmos.config.experiment import load_experiment
from cosmos.errors import InputError
from cosmos.pipeline.directory import PIPELINE, PipelineDir
from cosmos.pipeline.flow_pipeline import open_pipeline, require_parameters
from cosmos.run.directory import run_name
from tests.stages.examples import ROOT

PARAMS = """# all of it
experiment: ""   # in force
overrides: {}
pretrain:   # optimisation
  epochs: 3   # passes
  seed: 0
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with two experiments and the stages of this project."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "tiny.yaml").write_text("pretrain: {epochs: 1, batch_size: 8}")
    (tmp_path / "other.yaml").write_text("pretrain: {epochs: 2}")
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    return tmp_path


def stages(workspace: Path, pipeline: PipelineDir) -> dict[str, dict[str, object]]:
    made: dict[str, dict[str, object]] = yaml.safe_load((workspace / pipeline.definition).read_text())[
        "stages"
    ]
    return made


def test_without_parameters_it_is_the_pipeline_of_dvc_repro(workspace: Path) -> None:
    before = sorted(workspace.iterdir())
    assert open_pipeline(workspace, "", {}) == PIPELINE
    assert PIPELINE.target("prepare") == "prepare"
    assert sorted(workspace.iterdir()) == before


@pytest.mark.parametrize("asked", ["", "other"])
def test_parameters_that_are_set_are_in_a_folder_of_their_own_and_params_yaml_stays(
    workspace: Path, asked: str
) -> None:
    text = PARAMS.replace('""', str(workspace / "tiny")).replace("{}", "{pretrain: {epochs: 6, seed: 5}}")
    (workspace / "params.yaml").write_text(text)
    name = str(workspace / asked) if asked else ""
    pipeline = open_pipeline(workspace, name, {"pretrain": {"epochs": 9}})
    promised = load_experiment(name, {"pretrain": {"epochs": 9}}, workspace / "params.yaml")
    assert pipeline == PipelineDir(Path("pipelines") / run_name(promised))
    (workspace / "params.yaml").write_text("pretrain: {epochs: -1}\nevaluate: {own: nonsense}\n")
    read = load_experiment(str(workspace / pipeline.parameters), base=workspace / "params.yaml")
    assert read == promised
    pretrain = read.params.pretrain
    assert (pretrain.epochs, pretrain.seed, pretrain.batch_size) == ((9, 0, 32) if asked else (9, 5, 8))


def test_an_edit_meanwhile_concerns_no_flow_with_its_own_parameters_and_stops_one_without(
    workspace: Path,
) -> None:
    base, overrides = workspace / "params.yaml", {"pretrain": {"seed": 1}}
    promised = [load_experiment("", asked, base).params for asked in ({}, overrides)]
    pipelines = [open_pipeline(workspace, "", asked) for asked in ({}, overrides)]
    base.write_text(f"{PARAMS}# a note\n")
    for pipeline, params in zip(pipelines, promised, strict=True):
        require_parameters(workspace, pipeline, params)
    base.write_text(PARAMS.replace("epochs: 3", "epochs: 4"))
    require_parameters(workspace, pipelines[1], promised[1])
    with pytest.raises(InputError, match=r"params\.yaml: was edited while a flow"):
        require_parameters(workspace, pipelines[0], promised[0])


def test_the_same_parameters_have_the_same_folder_and_others_another(workspace: Path) -> None:
    asked = [{"pretrain": {"seed": seed}} for seed in (1, 2, 1)]
    first, other, again = (open_pipeline(workspace, "", overrides) for overrides in asked)
    assert first == again != other


def test_its_stages_are_those_of_the_workspace_in_another_folder(workspace: Path) -> None:
    pipeline = open_pipeline(workspace, "", {"pretrain": {"seed": 1}})
    folder, text = str(pipeline.folder), (workspace / pipeline.definition).read_text()
    assert text.replace(folder, "").count("pipeline") == 0
    made = stages(workspace, pipeline)
    assert list(made) == list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert {stage["wdir"] for stage in made.values()} == {"../.."}
    assert made["params"]["deps"] == ["cosmos", f"{folder}/params.yaml"]
    assert made["params"]["cmd"] == (
        f"cosmos params --output {folder}/experiment.yaml --identity {folder}/identity.yaml "
        f"--experiment {folder}/params.yaml"
    )
    assert made["report"]["cmd"] == f"cosmos report {folder}"
    assert yaml.safe_load(text)["plots"][0]["loss"]["y"] == {"./curves.csv": ["loss"]}
    assert pipeline.target("report") == f"{folder}/dvc.yaml:report"


OWN = """
  words: {foreach: [a, b], do: {cmd: touch, outs: ['pipeline/${item}.txt']}}
  page: {cmd: touch page, wdir: pipeline, metrics: [{page: {cache: false}}]}
  elsewhere: {cmd: cosmos export pipeline/model/checkpoint.pt clip.pt, outs: [clip.pt]}
"""


def test_a_stage_of_ones_own_takes_part_where_its_outputs_are_in_the_folder(workspace: Path) -> None:
    definition = workspace / "dvc.yaml"
    definition.write_text(definition.read_text().replace("\nplots:", f"{OWN}\nplots:"))
    pipeline = open_pipeline(workspace, "", {"pretrain": {"seed": 1}})
    folder, made = pipeline.folder, stages(workspace, pipeline)
    assert made["words"]["do"] == {"cmd": "touch", "outs": [f"{folder}/${{item}}.txt"], "wdir": "../.."}
    assert set(made["words"]) == {"foreach", "do"}  # DVC refuses a wdir beside these
    assert made["page"]["wdir"] == f"../../{folder}"
    assert "elsewhere" not in made  # DVC refuses a second stage with the same output


def test_a_name_that_no_shell_takes_as_a_word_is_taken_apart(workspace: Path) -> None:
    (workspace / "my $best.yaml").write_text("pretrain: {epochs: 2}")
    folder = open_pipeline(workspace, str(workspace / "my $best"), {}).folder
    assert folder.name.startswith("my--best-")


def test_wrong_parameters_are_refused_and_nothing_is_made(workspace: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain\.epochs: .* greater than 0"):
        open_pipeline(workspace, "", {"pretrain": {"epochs": 0}})
    assert not (workspace / "pipelines").exists()


@pytest.mark.parametrize("is_edited", [False, True])
def test_parameters_that_an_older_version_left_in_params_yaml_are_taken_back_once(
    workspace: Path, is_edited: bool
) -> None:
    left, tmp = PARAMS.replace("epochs: 3", "epochs: 7"), workspace / ".dvc" / "tmp"
    tmp.mkdir(parents=True)
    (tmp / "params-before.yaml").write_text(PARAMS)
    (tmp / "params-in-force.yaml").write_text(left)
    (workspace / "params.yaml").write_text(f"{left}# mine\n" if is_edited else left)
    for _ in range(2):
        open_pipeline(workspace, "", {})
        assert (workspace / "params.yaml").read_text() == (f"{left}# mine\n" if is_edited else PARAMS)
    if is_edited:
        assert (tmp / "params-kept.yaml").read_text() == PARAMS
