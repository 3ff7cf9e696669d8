"""Crash points: a command is killed before its n-th change of a file, for every n in turn."""

import signal

from tests.faults.moments import Moment
from tests.faults.tries import Try, check_manners
from tests.faults.works import EVALUATE, PREPARE, PRETRAIN, SWEEP

WALKED = (PRETRAIN, SWEEP, PREPARE, EVALUATE)


def attempt(attempt: Try) -> None:
    """Kill a command before the operation that the number of the try names, then let it finish."""
    work, operation = WALKED[attempt.number % len(WALKED)], 1 + attempt.number // len(WALKED)
    attempt.copy_world()
    work.begin(attempt)
    moment = Moment(operation)
    attempt.tell(f"SIGKILL at {moment}")
    ended = attempt.start(*work.arguments, meddle=lambda: moment.arm(signal.SIGKILL)).wait()
    check_manners(ended)
    work.finish(attempt)
