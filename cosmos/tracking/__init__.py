"""Weights & Biases: the mirror of a run directory, kept by a process that follows it; a sweep's workspace.

The mirror shows a description, curves, results and the last checkpoint. How much W&B has already is read from
a note in the run directory and from W&B's offline recordings.
"""
