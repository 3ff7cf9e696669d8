import logging
import time

import pytest

from cosmos.data.patience import read_patiently, wait_while_transient
from cosmos.distributed.whereabouts import HERE
from cosmos.errors import CosmosError, DamagedDataError, TransientError

AWAY = TransientError("a.tar: no such file")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, of which none passes but on the clock."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


def test_pauses_grow_until_the_data_is_there_again(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str | CosmosError] = [*[AWAY] * 7, "data"]
    num_moves = HERE.num_moves
    with caplog.at_level(logging.WARNING):
        assert read_patiently(lambda: answers.pop(0), AWAY, 5) == "data"
    assert clock == [0.5, 1, 2, 4, 8, 10, 10]
    assert HERE.num_moves - num_moves >= len(clock)  # or else other ranks would take it for hanging
    assert "waits for data, up to 5 minutes: a.tar: no such file" in caplog.text
    assert "goes on after 36 s" in caplog.text


def test_a_failure_that_is_over_costs_no_pause_and_no_word(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_patiently(lambda: "data", AWAY, 5) == "data"
    assert not clock
    assert not caplog.text


def test_the_wait_has_an_end(clock: list[float]) -> None:
    remaining = read_patiently(lambda: AWAY, AWAY, 0.5)
    assert isinstance(remaining, TransientError)
    assert "a.tar: no such file; rank 0 on" in str(remaining)
    assert sum(clock) == 30


def test_damage_that_shows_meanwhile_ends_the_wait(clock: list[float]) -> None:
    answers: list[CosmosError] = [AWAY, DamagedDataError("broken")]
    assert str(read_patiently(lambda: answers.pop(0), AWAY, 5)) == "broken"


def test_what_raises_a_transient_error_is_called_again(clock: list[float]) -> None:
    answers: list[str | CosmosError] = [*[AWAY] * 3, "data"]
    assert wait_while_transient(lambda: content_of(answers.pop(0)), 5) == "data"
    assert clock == [0.5, 1]
    with pytest.raises(TransientError, match=r"a\.tar: no such file; rank 0 on .* has waited 0\.5 minutes"):
        wait_while_transient(lambda: content_of(AWAY), 0.5)
    with pytest.raises(DamagedDataError, match="broken"):
        wait_while_transient(lambda: content_of(DamagedDataError("broken")), 5)


def content_of(answer: str | CosmosError) -> str:
    if isinstance(answer, CosmosError):
        raise answer
    return answer
