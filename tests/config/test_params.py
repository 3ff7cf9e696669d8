from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from cosmos.config.evaluate_params import (
    ClassificationParams,
    PerceptionParams,
    RetrievalParams,
    SegmentationParams,
    SegmentationSet,
)
from cosmos.config.experiment import merge_sections
from cosmos.config.identity import describe_changes, params_fingerprint
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.search_space import FloatRange, IntegerRange, nest_sections
from cosmos.config.section import Section, plain_types
from cosmos.config.sweep import SweepFile


@pytest.mark.parametrize("section", ["data", "views", "model", "loss", "pretrain", "evaluate"])
def test_every_knob_is_described(section: str) -> None:
    def undescribed(model: Any, prefix: str) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            missing += [] if field.description else [prefix + name]
            if hasattr(field.annotation, "model_fields"):
                missing += undescribed(field.annotation, f"{prefix}{name}.")
        return missing

    assert undescribed(Params.model_fields[section].annotation, f"{section}.") == []


def test_the_fingerprint_tells_pretrainings_apart_and_leaves_evaluation_out() -> None:
    base = Params()
    other = Params.model_validate(merge_sections(base.model_dump(), {"loss": {"distill_weight": 0.5}}))
    evaluated = Params.model_validate(
        merge_sections(base.model_dump(), {"evaluate": {"models": ["teacher"]}})
    )
    assert params_fingerprint(base) != params_fingerprint(other)
    assert params_fingerprint(base) == params_fingerprint(evaluated)
    assert describe_changes(base, other) == ["loss.distill_weight: 1.0 -> 0.5"]


def numbers(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the path of each number in a model."""
    for name, field in model.model_fields.items():
        types = plain_types(field.annotation)
        if types & {int, float} and not types & {str, bool}:
            yield prefix + name
        for section in types:
            if isinstance(section, type) and issubclass(section, Section):
                yield from numbers(section, f"{prefix}{name}.")


@pytest.mark.parametrize("model", [Params, Machine, SegmentationSet, IntegerRange, FloatRange, SweepFile])
@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "infinity", [1]])
def test_no_number_is_a_boolean_or_infinite(model: type[BaseModel], value: object) -> None:
    paths = list(numbers(model))
    for some in (paths[::2], paths[1::2]):  # of many problems, a message names the first ones
        with pytest.raises(ValueError, match=r"valid|Boolean|finite") as refused:
            model(**nest_sections(dict.fromkeys(some, value)))
        assert [path for path in some if f"{path}" not in str(refused.value)] == []


@pytest.mark.parametrize(
    "section", [RetrievalParams, ClassificationParams, SegmentationParams, PerceptionParams]
)
@pytest.mark.parametrize("name", ["", "my/set", "my\0set"])
def test_a_set_has_a_name_that_figures_and_files_can_have(section: type[Section], name: str) -> None:
    with pytest.raises(ValueError, match="a name needs characters, and none of them a slash"):
        section.model_validate({"own": {name: {}}})


def test_the_size_of_local_crops_is_free_where_there_are_none() -> None:
    views = {"image_size": 16, "num_local_crops": 0}
    assert Params.model_validate({"views": views}).views.local_size == 32
    with pytest.raises(ValueError, match=r"local_size: 32 is larger than views\.image_size 16"):
        Params.model_validate({"views": {**views, "num_local_crops": 1}})


def test_yaml_survives_a_round_trip() -> None:
    dumped = yaml.safe_dump(Params().model_dump(mode="json"))
    assert Params.model_validate(yaml.safe_load(dumped)) == Params()
