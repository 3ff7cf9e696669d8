"""Settings, without torch: parameters (also of evaluation) and their identity, experiments, sweeps and search
spaces, the machine, requests of jobs, Weights & Biases; and, in `figures`, the metrics that can be measured.
"""
