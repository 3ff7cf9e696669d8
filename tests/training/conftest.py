import signal
from collections.abc import Iterator

import pytest

from cosmos.training.signals import SIGNALS


@pytest.fixture
def heeded() -> Iterator[None]:
    """What the shell of these tests ignores is not their matter."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
