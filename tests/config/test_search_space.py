import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cosmos.config.identity import flatten_sections
from cosmos.config.params import Params
from cosmos.config.search_space import (
    Distribution,
    are_drawn,
    condition_problems,
    nest_sections,
    suggest_values,
)

READ: TypeAdapter[Distribution] = TypeAdapter(Distribution)


def read(**values: Any) -> Distribution:
    return READ.validate_python(values)


def drawn(space: dict[str, Distribution], count: int = 200) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest_values(space, study.ask(), {}) for _ in range(count)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distribution": "float", "low": 1, "high": 1}, "low: 1.0 is not below high: 1.0"),
        ({"distribution": "float", "low": 0, "high": 1, "log": True}, "log: needs a low above 0"),
        ({"distribution": "float", "low": 1, "high": 2, "log": True, "step": 0.5}, "and no step"),
        ({"distribution": "int", "low": 0, "high": 4, "log": True}, "log: needs a low of at least 1"),
        ({"distribution": "log-one-minus", "low": 0.9, "high": 1}, "not below 1"),
        ({"distribution": "categorical", "choices": []}, "at least 1 item"),
        (
            {"distribution": "normal", "low": 0, "high": 1},
            "expected float, log-one-minus, int or categorical",
        ),
        ({"distribution": "float", "low": 0, "hi": 1}, "Field required"),
        ({"distribution": "float", "low": True, "high": 2}, "expected a number, not a Boolean"),
        ({"distribution": "float", "low": 0, "high": float("inf")}, "finite"),
    ],
)
def test_an_impossible_distribution_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(**values)


def test_values_come_from_where_the_space_says() -> None:
    space = {
        "float": read(distribution="float", low=0.1, high=10, log=True),
        "steps": read(distribution="float", low=0, high=1, step=0.25),
        "int": read(distribution="int", low=2, high=8, step=2),
        "choice": read(distribution="categorical", choices=["a", 3, True]),
    }
    for trial in drawn(space):
        assert are_drawn(space, json.loads(json.dumps(trial)), {})
        assert 0.1 <= trial["float"] <= 10
        assert trial["steps"] in (0, 0.25, 0.5, 0.75, 1)
        assert trial["int"] in (2, 4, 6, 8)
        assert trial["choice"] in ("a", 3, True)


def test_momenta_are_as_often_between_0_9_and_0_99_as_between_0_99_and_0_999() -> None:
    momentum = read(distribution="log-one-minus", low=0.9, high=0.999)
    values = [trial["m"] for trial in drawn({"m": momentum}, 400)]
    assert all(0.9 <= value <= 0.999 for value in values)
    assert 150 < sum(value < 0.99 for value in values) < 250


def test_a_parameter_is_searched_where_its_condition_holds() -> None:
    space = {
        "schedule": read(distribution="categorical", choices=["fixed", "cosine"]),
        "crops": read(distribution="int", low=0, high=2),
        "momentum": read(distribution="float", low=0, high=1, when={"schedule": "fixed", "crops": [1, 2]}),
    }
    for trial in drawn(space):
        assert ("momentum" in trial) == (trial["schedule"] == "fixed" and trial["crops"] > 0)


def test_conditions_are_on_what_is_drawn_before() -> None:
    searched = read(distribution="float", low=0, high=1, when={"b": 1, "c": 1})
    space = {"a": searched, "b": read(distribution="int", low=0, high=1)}
    assert list(condition_problems(space)) == [
        "space.a.when: b comes later; move it up",
        "space.a.when: c is not searched",
    ]


paths = st.dictionaries(
    st.sampled_from(list(flatten_sections(Params().model_dump(mode="json")))), st.integers()
)


@given(paths)
def test_values_by_path_and_sections_are_the_same(values: dict[str, int]) -> None:
    assert flatten_sections(nest_sections(values)) == values
