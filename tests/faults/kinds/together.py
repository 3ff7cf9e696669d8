"""Two of everything at once: one does the work, the other waits, joins or says who is at it."""

import time

from tests.faults.tries import STATUSES, Try, check_manners
from tests.faults.works import draw_work

BESIDE = (("runs", "list"), ("jobs",), ("compare", "whole", "half"), ("runs", "export", "runs.csv"))
"""Commands that read while others write."""


def attempt(attempt: Try) -> None:
    """Give a command two or three times at once, with a list beside it; then once more."""
    work, rng = draw_work(attempt), attempt.rng
    running = []
    for _ in range(rng.choice([2, 2, 3])):
        running.append(attempt.start(*work.arguments))
        time.sleep(rng.choice([0, 0, rng.uniform(0, work.seconds)]))
    attempt.succeeds(*rng.choice(BESIDE))
    for command in running:
        ended = command.wait()
        check_manners(ended)
        assert ended.status in STATUSES - {1}, f"failed beside another\n{ended.describe()}"
        assert ended.status == 0 or ended.output.strip(), f"says nothing\n{ended.describe()}"
    work.finish(attempt)
