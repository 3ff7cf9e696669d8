"""Processes of one job: their ranks in the environment, their group, and exchanges of values and errors."""
