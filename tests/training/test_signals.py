import os
import signal

import pytest

from cosmos.training.signals import SIGNALS, stop_on_signals

pytestmark = pytest.mark.usefixtures("heeded")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_by_its_number(number: signal.Signals) -> None:
    with stop_on_signals() as stop:
        assert stop.signal == 0
        os.kill(os.getpid(), number)
        assert stop.signal == number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_of_several_signals_the_largest_counts_in_any_order() -> None:
    with stop_on_signals() as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        assert stop.signal == signal.SIGTERM


def test_ctrl_c_after_another_request_interrupts_at_once() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == 0
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.signal == signal.SIGUSR2
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
