"""Search of a sweep: Optuna's study, plots and dashboard, trials as jobs, their controller, the conclusion.

A sweep's settings are in config/, its directory and the ranking of its trials in registry/.
"""
