"""A part of the campaign of faults, the same each time; `make faults` runs all of it."""

import subprocess
import sys

import pytest

from tests.faults.world import ROOT


@pytest.mark.slow
def test_a_part_of_the_campaign_survives() -> None:
    campaign = [sys.executable, "-m", "tests.faults", "--seed", "1", "--tries", "30", "--parallel", "2"]
    done = subprocess.run(campaign, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
