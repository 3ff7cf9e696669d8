"""Records of runs, read from their directories, and `cosmos runs`: index, queries, table, export.

Also the directories of sweeps with the records of their trials, which are ranked as candidates.
"""
