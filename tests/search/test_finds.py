"""Quality of the search, in a simulated world: the figures of docs/sweeps.md."""

from statistics import median

import pytest

from tests.search.simulation import median_value, simulate_all


@pytest.mark.slow
def test_tpe_beats_random_search_and_rungs_reach_as_much_in_half_the_device_seconds() -> None:
    random, tpe, rungs = map(simulate_all, ("random, none", "tpe, none", "tpe, promote"))
    assert median_value(tpe) > median_value(random) + 0.05
    reached = median_value(tpe)
    seconds = median(search.seconds_to(reached) for search in rungs)
    assert seconds <= 0.5 * median(search.seconds for search in tpe)
    assert median_value(rungs) > reached + 0.03
