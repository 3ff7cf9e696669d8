"""A run directory: paths, files, metrics, results, labels, lease, provenance, code and versions in DVC."""
