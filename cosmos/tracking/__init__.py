"""Weights & Biases: a process that follows a run directory and mirrors it there; a sweep's workspace."""
