from cosmos.tracking.follower import IGNORED_SIGNALS
from cosmos.training.signals import SIGNALS


def test_no_signal_that_asks_a_training_to_stop_ends_the_process_that_shows_it() -> None:
    assert set(IGNORED_SIGNALS) == set(SIGNALS)
