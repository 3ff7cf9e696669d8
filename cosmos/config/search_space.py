"""Search spaces: a distribution for each parameter that is searched, by the parameter's path."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Discriminator, Field, Tag, model_validator

from cosmos.config.section import Section
from cosmos.errors import InputError

SearchValue = bool | int | float | str
"""Value of a parameter that is searched."""

TrialValues = dict[str, SearchValue]
"""Values that a trial tries, by the parameter's path."""


class Suggester(Protocol):
    """Source of values, such as an Optuna trial."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number between `low` and `high`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return an integer from `low` to `high`."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return an item of `choices`."""


class SearchedParameter(Section):
    """Base of all distributions: the condition under which a parameter is searched."""

    when: dict[str, SearchValue | tuple[SearchValue, ...]] = Field(default_factory=dict)
    """by path of another parameter: its value or values with which this one is searched; otherwise this one
    keeps the base's value"""

    def study_params(self, path: str, value: SearchValue) -> TrialValues:
        """Return the value of the parameter at `path` by the name that a study has for it."""
        return {path: value}


class ValueRange(SearchedParameter):
    """Distribution over the values from `low` to `high`."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise InputError(f"low: {self.low} is not below high: {self.high}")
        return self

    @property
    def extremes(self) -> tuple[SearchValue, ...]:
        """Both ends: where Params accepts these, it accepts every value between them."""
        return self.low, self.high


class FloatRange(ValueRange):
    """Numbers, distributed uniformly, or uniformly by their logarithm."""

    distribution: Literal["float"]
    log: bool = False
    """uniform by logarithm"""
    step: Annotated[float, Field(ge=0)] = 0.0
    """distance between values; 0: any"""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.log and (self.low <= 0 or self.step):
            raise InputError("log: needs a low above 0, and no step")
        return self

    def suggest(self, trial: Suggester, path: str) -> float:
        """Draw a value of the parameter at `path`, and return it."""
        return trial.suggest_float(path, self.low, self.high, step=self.step or None, log=self.log)


class LogOneMinusRange(ValueRange):
    """Numbers below 1 whose distance from 1 is distributed uniformly by its logarithm: momenta, decays."""

    distribution: Literal["log-one-minus"]

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.high >= 1:
            raise InputError(f"high: {self.high} is not below 1; the logarithm of 1 - x needs that")
        return self

    def suggest(self, trial: Suggester, path: str) -> float:
        """Draw the distance from 1, which the study keeps as `1 - <path>`, and return the value.

        The value is rounded to 12 digits, so that no float error takes it out of the range.
        """
        return round(1 - trial.suggest_float(f"1 - {path}", 1 - self.high, 1 - self.low, log=True), 12)

    def study_params(self, path: str, value: SearchValue) -> TrialValues:
        """Return the distance of the value from 1, which differs from the one drawn by the rounding."""
        return {f"1 - {path}": min(max(1 - float(value), 1 - self.high), 1 - self.low)}


class IntegerRange(ValueRange):
    """Integers, both ends included."""

    distribution: Literal["int"]
    low: int
    high: int
    log: bool = False
    """uniform by logarithm"""
    step: Annotated[int, Field(gt=0)] = 1
    """distance between values"""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.log and (self.low < 1 or self.step > 1):
            raise InputError("log: needs a low of at least 1, and no step")
        return self

    def suggest(self, trial: Suggester, path: str) -> int:
        """Draw a value of the parameter at `path`, and return it."""
        return trial.suggest_int(path, self.low, self.high, step=self.step, log=self.log)


class CategoricalChoices(SearchedParameter):
    """Values without an order."""

    distribution: Literal["categorical"]
    choices: Annotated[tuple[SearchValue, ...], Field(min_length=1)]

    @property
    def extremes(self) -> tuple[SearchValue, ...]:
        """All choices, each of which Params must accept."""
        return self.choices

    def suggest(self, trial: Suggester, path: str) -> SearchValue:
        """Draw a value of the parameter at `path`, and return it."""
        chosen: SearchValue = trial.suggest_categorical(path, self.choices)
        return chosen


def _distribution_name(values: Any) -> Any:
    """Return the key `distribution` of a parameter's settings."""
    if isinstance(values, dict):
        return values.get("distribution")
    return getattr(values, "distribution", None)


Distribution = Annotated[
    Annotated[FloatRange, Tag("float")]
    | Annotated[LogOneMinusRange, Tag("log-one-minus")]
    | Annotated[IntegerRange, Tag("int")]
    | Annotated[CategoricalChoices, Tag("categorical")],
    Discriminator(
        _distribution_name,
        custom_error_type="distribution",
        custom_error_message="distribution: expected float, log-one-minus, int or categorical",
    ),
]
SearchSpace = Mapping[str, Distribution]
"""Distributions by the path of the parameter, in the order in which they are drawn."""


def suggest_values(space: SearchSpace, trial: Suggester, base: Mapping[str, Any]) -> TrialValues:
    """Draw a value of each parameter whose condition holds; `base` has the other parameters, by path."""
    drawn: TrialValues = {}
    for path, distribution in space.items():
        if is_searched(distribution, {**base, **drawn}):
            drawn[path] = distribution.suggest(trial, path)
    return drawn


def is_searched(distribution: Distribution, values: Mapping[str, Any]) -> bool:
    """Return True when a parameter's condition holds for the values of the others, by path."""
    return all(
        values.get(path) in (wanted if isinstance(wanted, tuple) else (wanted,))
        for path, wanted in distribution.when.items()
    )


def study_params(space: SearchSpace, values: Mapping[str, SearchValue]) -> TrialValues:
    """Return the values of a trial by the names that a study has for them.

    Raises ValueError for a parameter or a value that is not of the space.
    """
    params: TrialValues = {}
    for path, value in values.items():
        if path not in space or not is_drawn(space[path], value):
            raise ValueError(f"{path}: {value!r} is not of the search space")
        params |= space[path].study_params(path, value)
    return params


def condition_problems(space: SearchSpace) -> Iterator[str]:
    """Yield a message for each condition on a parameter not drawn earlier, or on a value it never has."""
    drawn: set[str] = set()
    for path, distribution in space.items():
        for other, wanted in distribution.when.items():
            if other not in drawn:
                reason = "comes later; move it up" if other in space else "is not searched"
                yield f"space.{path}.when: {other} {reason}"
                continue
            for value in wanted if isinstance(wanted, tuple) else (wanted,):
                if not is_drawn(space[other], value):
                    yield f"space.{path}.when: {other} is never {value!r}"
        drawn.add(path)


def is_drawn(distribution: Distribution, value: SearchValue) -> bool:
    """Return True for one of the choices of a distribution, or a number in its range to 9 digits."""
    if isinstance(distribution, CategoricalChoices):
        return value in distribution.choices
    slack = 1e-9 * max(abs(distribution.low), abs(distribution.high))
    return not isinstance(value, str) and distribution.low - slack <= value <= distribution.high + slack


def fits(distribution: Distribution, value: Any) -> bool:
    """Return True for a value that may be drawn: one of the choices, or a number on the steps of a range."""
    if isinstance(distribution, CategoricalChoices):
        return any(value == choice and type(value) is type(choice) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_drawn(distribution, value):
        return False
    step = getattr(distribution, "step", 0)
    return not step or abs(math.remainder(value - distribution.low, step)) <= 1e-9 * step


def split_values(
    space: SearchSpace, values: Mapping[str, Any], base: Mapping[str, Any]
) -> tuple[TrialValues, TrialValues]:
    """Return the values by path that a trial of the space may try, and those that it may not.

    Of neither are parameters that are not in the space, and those whose condition does not hold.
    """
    fitting, left_out = TrialValues(), TrialValues()
    for path, distribution in space.items():
        if path in values and is_searched(distribution, {**base, **fitting}):
            (fitting if fits(distribution, values[path]) else left_out)[path] = values[path]
    return fitting, left_out


def are_drawn(space: SearchSpace, values: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Return True for what a trial of the space may try: a value of each parameter whose condition holds."""
    fitting, _ = split_values(space, values, base)
    searched = {
        path for path, distribution in space.items() if is_searched(distribution, {**base, **fitting})
    }
    return fitting.keys() == values.keys() == searched


def nest_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by path (`pretrain.momentum`) as nested sections."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        *sections, key = path.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return result
