"""Search spaces: a distribution for each parameter that is searched, by the parameter's path."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from cosmos.config.section import Section
from cosmos.errors import InputError

Scalar = bool | int | float | str
Asked = dict[str, Scalar]
"""Values that a trial was asked to try, by the path of the parameter."""


class Suggests(Protocol):
    """What draws the values: a trial of Optuna's."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between `low` and `high`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""


class Searched(Section):
    """What all distributions have in common."""

    when: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    """searched only where these parameters, by path, have this value or one of these; elsewhere the base's
    value stays"""


class Ranged(Searched):
    """A distribution from a lowest to a highest value."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise InputError(f"low: {self.low} is not below high: {self.high}")
        return self

    @property
    def extremes(self) -> tuple[Scalar, ...]:
        """Values that Params has to take for it to take all of them."""
        return self.low, self.high


class Float(Ranged):
    """Numbers, uniformly or uniformly by their logarithm."""

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

    def suggest(self, trial: Suggests, path: str) -> float:
        """Draws a value."""
        return trial.suggest_float(path, self.low, self.high, step=self.step or None, log=self.log)


class LogOneMinus(Ranged):
    """Numbers below 1 whose distance from 1 is uniform by its logarithm: momenta, decays."""

    distribution: Literal["log-one-minus"]

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.high >= 1:
            raise InputError(f"high: {self.high} is not below 1, where the logarithm of 1 - x ends")
        return self

    def suggest(self, trial: Suggests, path: str) -> float:
        """Draws a value; the study knows its distance from 1. Rounded, so that the ends stay inside."""
        return round(1 - trial.suggest_float(f"1 - {path}", 1 - self.high, 1 - self.low, log=True), 12)


class Integer(Ranged):
    """Whole numbers, both ends included."""

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

    def suggest(self, trial: Suggests, path: str) -> int:
        """Draws a value."""
        return trial.suggest_int(path, self.low, self.high, step=self.step, log=self.log)


class Categorical(Searched):
    """Values without an order."""

    distribution: Literal["categorical"]
    choices: Annotated[tuple[Scalar, ...], Field(min_length=1)]

    @property
    def extremes(self) -> tuple[Scalar, ...]:
        """Values that Params has to take for it to take all of them."""
        return self.choices

    def suggest(self, trial: Suggests, path: str) -> Scalar:
        """Draws a value."""
        chosen: Scalar = trial.suggest_categorical(path, self.choices)
        return chosen


Distribution = Annotated[Float | LogOneMinus | Integer | Categorical, Field(discriminator="distribution")]
Space = Mapping[str, Distribution]


def draw(space: Space, trial: Suggests, base: Mapping[str, Any]) -> Asked:
    """Draws a value of each parameter whose condition holds; `base` has the other parameters, by path."""
    asked: Asked = {}
    for path, searched in space.items():
        if holds(searched, {**base, **asked}):
            asked[path] = searched.suggest(trial, path)
    return asked


def holds(searched: Distribution, values: Mapping[str, Any]) -> bool:
    """Whether a parameter is searched, given the others' values by path."""
    return all(
        values.get(path) in (wanted if isinstance(wanted, tuple) else (wanted,))
        for path, wanted in searched.when.items()
    )


def condition_problems(space: Space) -> Iterator[str]:
    """Conditions that depend on what is not drawn before."""
    before: set[str] = set()
    for path, searched in space.items():
        for other in searched.when:
            if other not in before:
                reason = "comes later; move it up" if other in space else "is not searched"
                yield f"space.{path}.when: {other} {reason}"
        before.add(path)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path, as sections inside each other."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        *sections, key = path.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return result
