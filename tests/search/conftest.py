import pytest

from cosmos.search import controller


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll without a wait, since trials take no time."""
    monkeypatch.setattr(controller, "POLL_SECONDS", 0.0)
