from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.config.experiment import (
    dump_experiment,
    experiment_file,
    lineage,
    load_experiment,
    load_params,
    merge_sections,
)
from cosmos.config.params import DistillTermParams, Params
from cosmos.config.settings_file import read_settings
from cosmos.errors import InputError

ROOT = Path(__file__).parents[2]
LEAVES = (
    "pretrain.epochs",
    "pretrain.seed",
    "loss.weight",
    "model.inline.vision.width",
    "model.inline.width",
)


def write(folder: Path, **files: dict[str, Any]) -> Path:
    for name, values in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder / f"{next(iter(files))}.yaml"


def names(path: Path) -> list[str]:
    return [overlay.path.stem for overlay in lineage(path)]


def nested(leaves: dict[str, int]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in leaves.items():
        *sections, key = path.split(".")
        reduce(lambda at, section: at.setdefault(section, {}), sections, root)[key] = value
    return root


def test_params_yaml_and_the_defaults_in_the_code_say_the_same() -> None:
    assert read_settings(ROOT / "params.yaml").values == {
        "experiment": "",
        "overrides": {},
        **Params().model_dump(mode="json"),
    }


def test_params_yaml_names_the_experiment_that_is_in_force_where_none_is_asked_for(tmp_path: Path) -> None:
    base = write(tmp_path, params={"experiment": str(tmp_path / "small.yaml"), "pretrain": {"epochs": 3}})
    write(tmp_path, small={"pretrain": {"epochs": 1}}, other={"pretrain": {"seed": 5}})
    in_force, asked_for = load_experiment("", base=base), load_experiment(str(tmp_path / "other"), base=base)
    assert (in_force.name, in_force.params.pretrain.epochs) == ("small", 1)
    assert (asked_for.name, asked_for.params.pretrain.epochs) == ("other", 3)


def test_overrides_in_params_yaml_win_over_the_experiment_in_force_but_not_over_one_asked_for(
    tmp_path: Path,
) -> None:
    base = write(
        tmp_path,
        params={"experiment": str(tmp_path / "small"), "overrides": {"pretrain": {"epochs": 7}}},
        small={"pretrain": {"epochs": 1, "seed": 4}},
    )
    in_force = load_experiment("", base=base).params.pretrain
    assert (in_force.epochs, in_force.seed) == (7, 4)
    assert load_experiment(str(tmp_path / "small"), base=base).params.pretrain.epochs == 1
    assert load_experiment("", {"pretrain": {"epochs": 9}}, base).params.pretrain.epochs == 9


def test_an_experiment_in_force_that_is_no_name_is_refused(tmp_path: Path) -> None:
    base = write(tmp_path, params={"experiment": ["clip"]})
    with pytest.raises(ValueError, match=r"params\.yaml: experiment: expected the name .* found \['clip'\]"):
        load_experiment("", base=base)


@pytest.mark.parametrize("name", ["", "siglip", "vitb16-cc3m", "vitb16-cc3m-no-text-crops"])
def test_a_resolved_experiment_is_a_file_that_says_the_same_on_its_own(name: str, tmp_path: Path) -> None:
    resolved = load_experiment(str(ROOT / "experiments" / name) if name else "", base=ROOT / "params.yaml")
    (tmp_path / "experiment.yaml").write_text(dump_experiment(resolved))
    alone = write(tmp_path, params={})
    assert load_experiment(str(tmp_path / "experiment.yaml"), base=alone) == resolved


OVERLAYS = sorted(path for path in (ROOT / "experiments").rglob("*.yaml") if path.parent.name != "sweeps")


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_experiment_is_valid(path: Path) -> None:
    load_params(str(path), base=ROOT / "params.yaml")


def test_overlays_and_overrides_replace_single_values(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("pretrain: {epochs: 3, batch_size: 8}\n")
    (tmp_path / "overlay.yaml").write_text("pretrain: {epochs: 4, seed: 1}\nloss: {distillation: none}\n")
    params = load_params(str(tmp_path / "overlay.yaml"), {"pretrain": {"seed": 2}}, tmp_path / "params.yaml")
    assert (params.pretrain.epochs, params.pretrain.batch_size, params.pretrain.seed) == (4, 8, 2)
    assert params.loss.distillation == "none"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"pretrain": {"epoch": 3}}, r"pretrain\.epoch: no such key"),
        ({"pretrain": {"epochs": "many"}}, r"pretrain\.epochs: .*integer.*'many'"),
        ({"pretrain": {"momentum": 1.5}}, r"pretrain\.momentum: .*less than or equal to 1"),
        ({"views": {"local_size": 30}}, r"views\.local_size: 30 is not a multiple of .*patch_size 8"),
        ({"views": {"local_size": 72}}, r"views\.local_size: 72 is larger than views\.image_size 64"),
        ({"model": {"cross_attention_heads": 3}}, r"model\.inline\.embed_dim: 128 is not a multiple"),
        ({"data": {"source": "coco"}}, r"data\.annotations: source coco needs"),
        ({"data": {"source": "folder"}}, r"data\.images: source folder needs"),
        ({"data": {"name": "../escape"}}, r"data\.name"),
        ({"evaluate": {"retrieval": {"layout": "coco"}}}, r"evaluate\.retrieval\.layout: no such key"),
        ({"evaluate": {"models": []}}, r"evaluate\.models: .*at least 1 item"),
        (
            {"evaluate": {"segmentation": {"own": {"mine": {"images": "a"}}}}},
            r"evaluate\.segmentation\.own\.mine\.classes: Field required",
        ),
        ({"loss": {"distillation": "both"}}, r"loss\.distillation: .*'cross-modal'"),
        (
            {"loss": {"distillation": "none", "distill_terms": {"text_to_text": 1}}},
            r"loss\.distill_terms: distillation none does not weight",
        ),
        (
            {"loss": {"distill_terms": dict.fromkeys(DistillTermParams.model_fields, 0)}},
            r"loss\.distill_terms: no term has a weight",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_their_path(override: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_params(overrides=override, base=ROOT / "params.yaml")


def test_parameters_never_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_PRETRAIN__EPOCHS", "99")
    monkeypatch.setenv("PRETRAIN", '{"epochs": 99}')
    assert load_params(base=ROOT / "params.yaml").pretrain.epochs == Params().pretrain.epochs


def test_an_experiment_is_named_by_its_stem_or_its_path() -> None:
    assert experiment_file("clip") == Path("experiments/clip.yaml")
    assert experiment_file("elsewhere/x.yaml") == Path("elsewhere/x.yaml")
    assert experiment_file("~/mine.yaml") == Path.home() / "mine.yaml"
    with pytest.raises(InputError, match=r"~no-such-user/x: Could not determine home directory"):
        experiment_file("~no-such-user/x")
    assert experiment_file("recipe/published") == Path("experiments/recipe/published.yaml")


@pytest.mark.parametrize("stem", ["clip", "lr0.002", "v1.yaml.old"])
def test_an_experiment_is_one_whether_it_is_asked_for_by_name_or_by_path(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, params={})
    (tmp_path / "experiments").mkdir()
    write(tmp_path / "experiments", **{stem: {}})
    monkeypatch.chdir(tmp_path)
    path = Path("experiments") / f"{stem}.yaml"
    asked = [stem, str(path), str(path.absolute()), str(path.absolute().with_suffix(""))]
    assert [load_experiment(experiment).name for experiment in asked] == [stem] * 4
    write(tmp_path, params={"experiment": stem})
    assert load_experiment("").name == stem


@given(st.lists(st.dictionaries(st.sampled_from(LEAVES), st.integers()), max_size=4))
def test_of_merged_layers_each_value_is_that_of_the_last_layer_that_sets_it(
    layers: list[dict[str, int]],
) -> None:
    values: dict[str, Any] = {}
    expected: dict[str, int] = {}
    for layer in layers:
        values = merge_sections(values, nested(layer))
        expected |= layer
    assert values == nested(expected)


def test_the_default_experiment_is_params_yaml_and_needs_nothing() -> None:
    found = load_experiment("", base=ROOT / "params.yaml")
    assert (found.name, found.params, found.needs) == ("default", Params(), {})
    assert (found.about, found.cost, found.expected) == ("", "", "")


def test_later_parents_win_over_earlier_ones_the_file_over_all_and_the_command_line_over_that(
    tmp_path: Path,
) -> None:
    child = write(
        tmp_path,
        child={"extends": ["one", "two"], "pretrain": {"seed": 3}},
        one={"pretrain": {"epochs": 11, "batch_size": 11, "warmup_steps": 11, "seed": 1}},
        two={"pretrain": {"batch_size": 12, "warmup_steps": 12, "seed": 2}},
    )
    found = load_params(str(child), {"pretrain": {"warmup_steps": 14}}, ROOT / "params.yaml").pretrain
    assert (found.epochs, found.batch_size, found.warmup_steps, found.seed) == (11, 12, 14, 3)


def test_parents_are_named_from_the_folder_of_the_file_that_extends_them(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    child = write(tmp_path, child={"extends": "recipe/near"}, base={"extends": "elsewhere.yml"})
    write(tmp_path / "recipe", near={"extends": ["far", "../base"]}, far={})
    (tmp_path / "elsewhere.yml").write_text("")
    assert names(child) == ["far", "elsewhere", "base", "near", "child"]


@settings(max_examples=25)
@given(st.data())
def test_a_file_comes_once_and_after_all_that_it_extends(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    parents = [data.draw(st.lists(st.integers(0, n - 1), unique=True)) if n else [] for n in range(size)]
    with TemporaryDirectory() as folder:
        for number, extended in enumerate(parents):
            write(Path(folder), **{f"e{number}": {"extends": [f"e{n}" for n in extended]}})
        order = names(Path(folder) / f"e{size - 1}.yaml")
    assert len(order) == len(set(order))
    for position, name in enumerate(order):
        assert {f"e{n}" for n in parents[int(name[1:])]} <= set(order[:position])


def test_what_a_file_says_of_itself_is_not_inherited_and_what_a_job_needs_is(tmp_path: Path) -> None:
    child = write(
        tmp_path,
        child={"about": "child", "extends": "parent", "slurm": {"nodes": 2}},
        parent={"about": "parent", "cost": "much", "expected": "little", "slurm": {"nodes": 4, "minutes": 9}},
    )
    found = load_experiment(str(child), base=ROOT / "params.yaml")
    assert (found.name, found.about, found.cost, found.expected) == ("child", "child", "", "")
    assert found.needs == {"nodes": 2, "minutes": 9}
    assert found.params == Params()


def test_a_circle_is_refused_with_its_files(tmp_path: Path) -> None:
    first = write(
        tmp_path, a={"extends": "b"}, b={"extends": "../" + tmp_path.name + "/c"}, c={"extends": "b"}
    )
    with pytest.raises(
        ValueError, match=r"b\.yaml: extends itself \(\S*b\.yaml -> \S*c\.yaml -> \S*b\.yaml\)"
    ):
        load_params(str(first), base=ROOT / "params.yaml")


def test_a_parent_that_is_missing_is_named_with_the_file_that_extends_it(tmp_path: Path) -> None:
    child = write(tmp_path, child={"extends": ["recipe/none"]})
    with pytest.raises(
        ValueError, match=r"child\.yaml: extends recipe/none, but there is no .*recipe/none\.yaml"
    ):
        load_params(str(child), base=ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"slurm": {"nodez": 4}},
            r"slurm\.nodez: no such key; near it: nodes; machine\.example\.yaml lists them all",
        ),
        ({"slurm": {"nodes": 0}}, r"slurm\.nodes: .*greater than 0 \(given: 0, in \S+parent\.yaml, line 2\)"),
        ({"slurm": {"sbatch": ["exclusive"]}}, r"slurm\.sbatch\.0: .*'exclusive'"),
        ({"slurm": 4}, r"slurm: .*given: 4"),
        ({"extends": {"a": 1}}, r"extends: expected a list"),
        ({"about": ["a"]}, r"about: .*string"),
    ],
)
def test_a_wrong_head_is_refused_with_its_file_and_path(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    child = write(tmp_path, child={"extends": "parent"}, parent=values)
    with pytest.raises(ValueError, match=r"(?s)parent\.yaml:\n  " + message):
        load_params(str(child), base=ROOT / "params.yaml")


def test_wrong_parameters_are_refused_with_the_file_and_line_that_they_come_from(tmp_path: Path) -> None:
    child = write(tmp_path, child={"extends": "parent", "about": "x"}, parent={"pretrain": {"epoch": 1}})
    expected = (
        r"parameters from \S+, \S+parent\.yaml, \S+child\.yaml:\n  pretrain\.epoch: no such key; "
        r"near it: epochs; .*\(in \S+parent\.yaml, line 2\)"
    )
    with pytest.raises(ValueError, match=expected):
        load_params(str(child), base=ROOT / "params.yaml")


def test_a_wrong_item_is_told_once_and_not_as_a_list_without_items(tmp_path: Path) -> None:
    child = write(tmp_path, child={"evaluate": {"models": ["studnt"]}})
    with pytest.raises(ValueError, match=r"evaluate\.models\.0: .*'student' or 'teacher'") as refused:
        load_params(str(child), base=ROOT / "params.yaml")
    assert str(refused.value).count("\n") == 1


def test_of_a_value_that_several_sources_give_the_last_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("pretrain:\n  epochs: 0\noverrides:\n  pretrain:\n    epochs: -1\n")
    base, child = tmp_path / "params.yaml", write(tmp_path, child={"pretrain": {"epochs": -2}})
    with pytest.raises(ValueError, match=r"epochs: .*\(given: -1, in \S+params\.yaml, line 5\)"):
        load_params(base=base)
    with pytest.raises(ValueError, match=r"epochs: .*\(given: -2, in \S+child\.yaml, line 2\)"):
        load_params(str(child), base=base)
    with pytest.raises(ValueError, match=r"epochs: .*\(given: 'x', in the command line\)"):
        load_params(str(child), {"pretrain": {"epochs": "x"}}, base)


def test_a_section_with_all_its_keys_commented_out_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("experiment:\noverrides:\npretrain: {epochs: 7}\nevaluate:\n")
    (tmp_path / "child.yaml").write_text("pretrain:\nslurm:\nevaluate:\n  retrieval:\n    own:\n")
    base = tmp_path / "params.yaml"
    assert load_params(base=base).pretrain.epochs == 7
    assert load_params(str(tmp_path / "child"), base=base) == load_params(base=base)


def test_a_key_without_a_value_is_refused_where_a_value_is_needed(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("pretrain:\n  epochs:\nevaluate:\n  retrieval:\n    datasets:\n")
    with pytest.raises(
        ValueError, match=r"epochs: has no value; .*line 2\)\n.*datasets: has no value; .*line 5"
    ):
        load_params(base=tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("'1e-4'", 1e-4), ("1E-4", 1e-4), (".5", 0.5), ("1_000", 1000)]
)
def test_a_number_is_one_however_it_is_written(text: str, value: float, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"pretrain: {{learning_rate: {text}}}")
    base = tmp_path / "params.yaml"
    assert load_params(base=base).pretrain.learning_rate == value
    overridden = load_params(overrides={"pretrain": {"learning_rate": text.strip("'")}}, base=base)
    assert overridden.pretrain.learning_rate == value


def test_an_integer_may_be_written_as_a_power_of_ten() -> None:
    assert load_params(overrides={"data": {"max_pixels": "1e6"}}).data.max_pixels == 1_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretrain: {epochs: true}", r"pretrain\.epochs: expected a number, not a Boolean \(given: True"),
        ("pretrain: {learning_rate: 2024-01-01}", r"learning_rate: .*valid number.*given: '2024-01-01'"),
        ("pretrain: {epochs: 12:30}", r"epochs: .*valid integer.*given: '12:30'"),
        ("pretrain: {epochs: 2.5}", r"epochs: .*valid integer.*given: 2\.5"),
        ("pretrain: {learning_rate: .nan}", r"learning_rate: expected a finite number \(given: nan"),
        ("loss: {distill_weight: .inf}", r"distill_weight: expected a finite number \(given: inf"),
        ("data: {name: 2024}", r"data\.name: expected a text, not a number; put it in quotes \(given: 2024"),
        ("data: {name: true}", r"data\.name: expected a text, not a Boolean; put it in quotes"),
        ("evaluate: {models: student}", r"evaluate\.models: expected a list, such as \[a, b\]"),
        ("evaluate: {retrieval: {datasets: [1]}}", r"datasets\.0: expected a text, not a number"),
        ("pretrain: 3", r"pretrain: expected keys and values below it"),
        ("epochs: 3", r"  epochs: no such key; near it: pretrain\.epochs"),
        ("experimnt: clip", r"  experimnt: no such key; near it: experiment;"),
        ("override: {pretrain: {epochs: 3}}", r"  override: no such key; near it: overrides;"),
        ("extend: clip", r"  extend: no such key; near it: extends\b"),
    ],
)
def test_a_value_of_another_type_is_refused_as_it_was_read(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_params(base=tmp_path / "params.yaml")


def test_texts_that_look_like_numbers_or_booleans_to_some_readers_survive_a_resolved_experiment(
    tmp_path: Path,
) -> None:
    own = {"mine": {"images": "1e-4", "prompts": "no", "class_names": "2024-01-01"}}
    overrides = {"data": {"name": "1e5"}, "evaluate": {"classification": {"own": own}}}
    experiment = load_experiment("", overrides, ROOT / "params.yaml")
    (tmp_path / "experiment.yaml").write_text(dump_experiment(experiment))
    alone = write(tmp_path, params={})
    assert load_params(str(tmp_path / "experiment.yaml"), base=alone) == experiment.params


def test_an_experiment_that_there_is_not_is_answered_with_the_near_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    write(tmp_path / "experiments", clip={}, siglip={}, child={"extends": "sigclip"})
    (tmp_path / "experiments" / "._clap.yaml").write_bytes(b"\x00\x05")
    (tmp_path / "experiments" / ".clip.yaml.swp").write_bytes(b"\x00\x05")
    write(tmp_path, params={"pretrain": {}, "experiment": "clipp"})
    with pytest.raises(
        InputError, match=r"^params\.yaml, line 1: experiment: .*no such file; near it: clip$"
    ):
        load_experiment("")
    with pytest.raises(InputError, match=r"^experiments/clap\.yaml: no such file; near it: clip$"):
        load_experiment("clap")
    with pytest.raises(InputError, match=r"no such file; there are: child, clip, siglip$"):
        load_experiment("zzz")
    with pytest.raises(InputError, match=r"child\.yaml: extends sigclip, .*; near it: siglip, clip"):
        load_experiment("child")
