"""A run directory: its paths, files, metrics, results, labels, lease, provenance and versions in DVC."""
