import pytest

from cosmos.search import controller


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that take no time need no wait between looks."""
    monkeypatch.setattr(controller, "POLL_SECONDS", 0.0)
