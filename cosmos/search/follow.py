"""A sweep in a terminal: a bar, a line for each trial that begins or ends, and what came out."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cosmos.registry.sweep_directory import TrialRecord
from cosmos.search.conclusion import Conclusion
from cosmos.search.lead import Sweeping
from cosmos.search.tables import print_conclusion, trial_line

OVER = ("finished", "pruned")


def follow(sweeping: Sweeping, quiet: bool) -> Conclusion:
    """Leads a sweep to its end; Ctrl-C leaves the trials running. Raises what `Sweeping.trials` raises."""
    console = Console(stderr=quiet)
    console.print(f"{sweeping.folder.path}: {sweeping.parallel} at a time", markup=False, soft_wrap=True)
    try:
        with progress_bar() as bar:
            lead(sweeping, bar, console)
    except KeyboardInterrupt:
        name = sweeping.sweep.id
        print(
            f"\ntrials that run go on; the same command takes them on, `cosmos cancel {name}` ends them",
            file=sys.stderr,
        )
        raise
    found = sweeping.conclusion()
    if not quiet:
        print_conclusion(found, sweeping.sweep)
    return found


def lead(sweeping: Sweeping, bar: Progress, console: Console) -> None:
    """Takes the sweep through its trials, telling of each."""
    task = bar.add_task("trials", total=sweeping.num_trials)
    known: dict[str, TrialRecord] = {trial.name: trial for trial in sweeping.folder.trials}
    for trial in sweeping.trials():
        known[trial.name] = trial
        console.print(trial_line(trial), markup=False, highlight=False, soft_wrap=True)
        over = sum(1 for one in known.values() if one.state in OVER)
        repeats = sum(1 for one in known.values() if one.seed)
        bar.update(task, completed=over, total=sweeping.num_trials + repeats)


def progress_bar() -> Progress:
    """A bar of trials, on a terminal."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
