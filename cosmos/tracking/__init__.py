"""Tracking: the record of a run, and what Weights & Biases is shown of it."""
