"""Signals: a command that is asked to stop ends in a status that says so; given again, in the same bits."""

import signal

from cosmos.distributed.stop_signals import STOP_SIGNALS
from tests.faults.moments import draw_moment
from tests.faults.tries import Try, check_manners
from tests.faults.works import PRETRAIN, STOPPED, draw_work

ASKED = (signal.SIGINT, *STOP_SIGNALS)


def attempt(attempt: Try) -> None:
    """Send a signal to a command at a moment, look at its status, then let it finish."""
    work, number = draw_work(attempt, STOPPED), attempt.rng.choice(ASKED)
    moment = draw_moment(work, attempt.rng)
    attempt.tell(f"{number.name} at {moment}")
    running = work.start(attempt, lambda: moment.arm(number))
    moment.await_in(running, number)
    ended = running.wait()
    check_manners(ended)
    has_begun = work is PRETRAIN and (attempt.place / "runs" / "again" / "params.yaml").exists()
    allowed = {0, 75} if has_begun else {0, 75, 130, -number}
    assert ended.status in allowed, f"another status than {sorted(allowed)}\n{ended.describe()}"
    work.finish(attempt)
