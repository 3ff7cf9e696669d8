"""The DVC pipeline: running its stages, their identity, the folder they fill, its report, promoted models."""
