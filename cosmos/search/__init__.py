"""Sweeps: Optuna's study, trials as jobs, the controller that runs them, and the sweep's conclusion."""
