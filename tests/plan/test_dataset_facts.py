"""Facts of a dataset: of the prepared one first, then as they are stated, then as they are assumed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, DemoParams, Params, ViewParams
from cosmos.data.manifest import Manifest
from cosmos.data.preparation import prepare_dataset
from cosmos.data.tokenizer import Tokenizer
from cosmos.errors import DamagedDataError, InputError
from cosmos.plan.dataset_facts import ASSUMED_CAPTIONS, count_tokens, dataset_facts

CAPTIONS = [
    "A group of people are standing next to each other in front of a large brick building",
    "The image shows a woman with long brown hair, wearing a black leather jacket and blue jeans",
    "a photo of a small dog's head looking out of the window of a red car",
    "In the image, there is a wooden table on which a white plate with a slice of chocolate cake is placed",
    "Two men in suits shaking hands during an official ceremony at the parliament in 2014",
    "Watercolour painting of mountains, lakes and forests by an unknown artist",
]


def demo(**views: object) -> Params:
    data = DataParams(demo=DemoParams(num_train=40, num_heldout=4, image_size=32), samples_per_shard=16)
    return Params(data=data, views=ViewParams.model_validate(views))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(data_root=tmp_path)


@pytest.fixture(scope="module")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset(demo().data, Machine(data_root=folder), processes=1)
    return folder


@pytest.fixture
def prepared(machine: Machine, prepared_data: Path) -> Machine:
    shutil.copytree(prepared_data, machine.data_root, dirs_exist_ok=True)
    return machine


def test_a_prepared_dataset_has_its_own_size_and_captions(prepared: Machine) -> None:
    facts = dataset_facts(demo(num_captions=5), prepared, stated=7)
    shards = (prepared.data_root / "demo" / "train").glob("*.tar")
    assert (facts.num_samples, facts.samples_from) == (40, "manifest.json")
    assert facts.bytes_per_sample == sum(shard.stat().st_size for shard in shards) / 40
    assert facts.captions_from == "captions of 40 samples"
    assert {len(row) for row in facts.caption_lengths} == {5}
    assert facts.mean_global_tokens > facts.mean_local_tokens > 5


def test_the_size_that_a_user_gives_wins(prepared: Machine) -> None:
    facts = dataset_facts(demo(), prepared, num_samples=1000)
    assert (facts.num_samples, facts.samples_from) == (1000, "--samples")


def test_before_it_is_prepared_the_demo_world_has_the_size_that_it_will_have(machine: Machine) -> None:
    facts = dataset_facts(demo(), machine)
    assert (facts.num_samples, facts.samples_from) == (40, "data.demo.num_train")
    assert facts.captions_from == ASSUMED_CAPTIONS


def test_other_data_has_the_size_that_its_experiment_states_or_none(machine: Machine) -> None:
    params = Params(data=DataParams(name="mine", source="folder", images="images"))
    assert dataset_facts(params, machine, stated=50).num_samples == 50
    message = r"mine/train/manifest\.json: no such file, .* size of mine .* --samples or, .* `samples:`"
    with pytest.raises(InputError, match=message):
        dataset_facts(params, machine)


def test_a_damaged_shard_leaves_the_lengths_of_captions_assumed(prepared: Machine) -> None:
    for shard in (prepared.data_root / "demo" / "train").glob("*.tar"):
        shard.write_bytes(b"")
    facts = dataset_facts(demo(), prepared)
    assert (facts.num_samples, facts.captions_from) == (40, ASSUMED_CAPTIONS)


def test_prepared_data_without_samples_is_named(prepared: Machine) -> None:
    folder = prepared.dataset("demo", "train")
    replace(Manifest.read(folder), shards=()).write(folder)
    with pytest.raises(DamagedDataError, match=r"demo/train/manifest\.json: has no sample"):
        dataset_facts(demo(), prepared)


@pytest.mark.parametrize("mode", ["textcrop", "random"])
def test_assumed_captions_are_drawn_as_steps_draw_them(machine: Machine, mode: str) -> None:
    facts = dataset_facts(demo(caption_mode=mode, max_sentences=5, num_captions=8), machine)
    lengths = np.array(facts.caption_lengths)
    assert lengths.shape[1] == 8
    assert (lengths.min(), lengths[:, 2:].max()) == (10, 30)
    assert facts.mean_local_tokens == pytest.approx(20, abs=0.5)
    expected = 3 * 19 + 1 if mode == "textcrop" else 20  # of three sentences, if none is cut at 77 tokens
    assert facts.mean_global_tokens == pytest.approx(expected, rel=0.12)


def test_tokens_are_counted_without_the_tokenizer_as_it_counts_them() -> None:
    real = Tokenizer(77, 49408).encode_and_measure(CAPTIONS)[1]
    counted = np.array([count_tokens(caption) for caption in CAPTIONS])
    assert counted.sum() == pytest.approx(real.sum(), rel=0.03)
    assert abs(counted - real).max() <= 3


@pytest.mark.parametrize(
    "caption",
    [
        "\u4e00\u53ea\u68d5\u8272\u7684\u72d7\u5728\u8349\u5730\u4e0a\u5954\u8dd1",
        "Une ch\u00e8vre \u00e9l\u00e9gante, pr\u00e8s d'un ch\u00e2teau \u00e0 l'\u00e9t\u00e9",
        "\u0441\u043e\u0431\u0430\u043a\u0430 \u0431\u0435\u0436\u0438\u0442",
    ],
)
def test_captions_of_other_scripts_have_more_tokens(caption: str) -> None:
    real = int(Tokenizer(77, 49408).encode_and_measure([caption])[1][0])
    assert count_tokens(caption) == pytest.approx(real, rel=0.25)
