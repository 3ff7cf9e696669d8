"""Runs and sweeps side by side: what differs, which is best, as a table, curves and a page."""
