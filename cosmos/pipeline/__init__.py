"""The DVC pipeline: running its stages, the folder it fills, its report, and models promoted from runs."""
