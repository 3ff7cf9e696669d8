"""Comparison of runs and sweeps, `cosmos compare`: parameters that differ, best figures, curves, a page."""
