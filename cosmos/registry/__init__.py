"""Records of runs and of sweeps, read from their directories: index, queries, tables, export, candidates."""
