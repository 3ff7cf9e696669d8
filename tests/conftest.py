import os

# Tests share two cores with each other; one thread each also makes float sums the same on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Tests say for themselves where things lie, whatever this shell's settings are.
for name in [name for name in os.environ if name.startswith("COSMOS_") and name != "COSMOS_PARITY_DIR"]:
    del os.environ[name]
