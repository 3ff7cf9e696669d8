"""Settings, without torch: parameters, what identifies them, experiments, sweeps, metrics, this machine."""
