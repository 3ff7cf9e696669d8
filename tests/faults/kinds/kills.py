"""Killed commands: given again, they end in the same bits as if nothing had been."""

import json
import signal
from functools import partial

from tests.faults.moments import draw_moment
from tests.faults.tries import Try, check_manners
from tests.faults.works import STOPPED, draw_work


def attempt(attempt: Try) -> None:
    """Kill a command at one to three moments, list what it left, then let it finish."""
    work = draw_work(attempt, STOPPED)
    for _ in range(attempt.rng.choice([1, 1, 2, 3])):
        moment = draw_moment(work, attempt.rng)
        attempt.tell(f"SIGKILL at {moment}")
        running = work.start(attempt, partial(moment.arm, signal.SIGKILL))
        moment.await_in(running, signal.SIGKILL)
        ended = running.wait()
        check_manners(ended)
        assert ended.status in (0, -signal.SIGKILL), f"did not go on after a kill\n{ended.describe()}"
        check_lists(attempt)
    work.finish(attempt)


def check_lists(attempt: Try) -> None:
    """Raise AssertionError unless runs and jobs are listed, whatever a killed command left of them."""
    for command in (("runs", "list", "--json"), ("jobs", "--json")):
        listed = attempt.succeeds(*command).output
        assert json.loads(listed[listed.index("[") :]), f"nothing is listed\n{listed}"
