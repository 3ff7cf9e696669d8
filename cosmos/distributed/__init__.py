"""Processes of one job: their ranks in the environment, their group, exchanges between them, stop signals."""
