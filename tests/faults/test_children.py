"""Children of the campaign: whatever signal meets them, they end, and the campaign alone goes on."""

import subprocess
import sys

from tests.faults.world import ROOT

SIGNALLED = """
import os, signal, time
from random import Random
from tests.faults.children import fork_child

rng, handled = Random(1), []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: handled.append(number))
for _ in range(100):
    child = fork_child(lambda: time.sleep(60) or 0)
    time.sleep(rng.uniform(0, 0.002))
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
assert not handled
print("the end")
"""


def test_a_child_that_a_signal_meets_at_any_moment_never_goes_on_as_the_campaign() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("the end\n", "", 0)
