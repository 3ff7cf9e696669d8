"""Killed commands: given again, they end in the same bits as if nothing had been."""

import signal
from functools import partial

from tests.faults.moments import draw_moment
from tests.faults.tries import Try, check_manners
from tests.faults.works import draw_work


def attempt(attempt: Try) -> None:
    """Kill a command at one to three moments, then let it finish."""
    work = draw_work(attempt)
    for _ in range(attempt.rng.choice([1, 1, 2, 3])):
        moment = draw_moment(work, attempt.rng)
        attempt.tell(f"SIGKILL at {moment}")
        running = attempt.start(*work.arguments, meddle=partial(moment.arm, signal.SIGKILL))
        moment.await_in(running, signal.SIGKILL)
        ended = running.wait()
        check_manners(ended)
        assert ended.status in (0, -signal.SIGKILL), f"did not go on after a kill\n{ended.describe()}"
    work.finish(attempt)
