"""Training: schedules, optimiser, one step, checkpoints, signals, progress, opening a run, and the loop."""
