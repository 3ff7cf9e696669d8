"""The campaign of faults: `python -m tests.faults`, or `make faults`."""

import argparse
import os
import random
import signal
import sys
from pathlib import Path
from threading import Event

from tests.faults.children import STOPPING
from tests.faults.warm import import_everything


def main() -> None:
    """Run the campaign; exit with 1 where a promise was broken."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a command has one core
    # dvc and git are started by name: those of this environment, whether a shell has activated it or not
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    from tests.faults.campaign import KINDS, Campaign, Plan, draw_plans, free, new_folder
    from tests.faults.report import print_report

    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--tries", type=int, default=3000, help="number of tries in all")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="seed; without one, a new one"
    )
    parser.add_argument("--kind", choices=KINDS, action="append", help="kind of fault; without one, all")
    parser.add_argument("--only", type=int, help="number of a single try of the kind")
    parser.add_argument("--parallel", type=int, default=1 + (os.cpu_count() or 1), help="tries at a time")
    parser.add_argument("--json", type=Path, help="file that gets the table")
    given = parser.parse_args()
    kinds = given.kind or list(KINDS)
    print(f"seed {given.seed}", flush=True)
    stopping = Event()
    for number in STOPPING:  # also in the background of a script, which ignores Ctrl-C
        signal.signal(number, lambda number, frame: stopping.set())
    plans = draw_plans(given.tries, given.seed, kinds)
    if given.only is not None:
        plans = [Plan(kinds[0], given.only, given.seed)]
    import_everything()
    campaign = Campaign(new_folder(), plans, given.parallel, stopping)
    campaign.run()
    print_report(campaign, given.json)
    if campaign.failures:
        sys.exit(1)
    free(campaign.folder)


if __name__ == "__main__":
    main()
