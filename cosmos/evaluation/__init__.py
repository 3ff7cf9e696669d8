"""Zero-shot evaluation: a suite takes an encoder and a dataset and yields named values."""
