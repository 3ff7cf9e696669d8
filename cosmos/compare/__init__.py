"""Runs and sweeps side by side: a table, a page with curves and plots, a workspace in Weights & Biases."""
