"""A run directory: its paths, metrics, results, labels, lease and provenance; and what these are made with:
files that are whole or not there, fingerprints of the package's code, hashes and files from DVC.
"""
