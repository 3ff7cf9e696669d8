"""Progress of a sweep in a terminal: a bar, a line for each trial that begins or ends, the conclusion."""

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from cosmos.config.printable_text import cosmos_command, print_text
from cosmos.config.progress_bar import ProgressBar
from cosmos.errors import Interrupted
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.conclusion import SweepConclusion
from cosmos.search.sweep_run import SweepRun
from cosmos.search.terminal_tables import describe_trial, print_conclusion

COUNTED_STATES = ("finished", "pruned", "paused")
"""States of trials that count towards the number asked for, while none runs."""


def run_sweep_in_terminal(sweep_run: SweepRun, quiet: bool) -> SweepConclusion:
    """Run a sweep to its end, and return its conclusion; Ctrl-C leaves the trials running.

    Raises the errors of `SweepRun.trials`.
    """
    print_text(sweep_run.introduction(), to_errors=quiet)
    try:
        with trial_progress_bar() as bar:
            run_trials_with_progress(sweep_run, bar, quiet)
    except (KeyboardInterrupt, Interrupted):
        command = cosmos_command("cancel", sweep_run.sweep.id)
        print_text(
            f"\ntrials that run go on; the same command attaches to them, `{command}` ends them",
            to_errors=True,
        )
        raise
    conclusion = sweep_run.conclude()
    if not quiet:
        print_conclusion(conclusion, sweep_run.sweep)
    return conclusion


def run_trials_with_progress(sweep_run: SweepRun, bar: ProgressBar, quiet: bool) -> None:
    """Run the trials of a sweep; print a line for each that begins or ends, and advance the bar."""
    task = bar.add_task("trials", total=sweep_run.num_trials)
    records: dict[str, TrialRecord] = {trial.name: trial for trial in sweep_run.folder.trials}
    for trial in sweep_run.trials():
        records[trial.name] = trial
        print_text(describe_trial(trial), to_errors=quiet)
        ended = sum(1 for record in records.values() if record.state in COUNTED_STATES)
        repeats = sum(1 for record in records.values() if record.seed)
        bar.update(task, completed=ended, total=sweep_run.num_trials + repeats)


def trial_progress_bar() -> ProgressBar:
    """Return a progress bar of trials."""
    return ProgressBar(
        TextColumn("{task.description}", "bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
