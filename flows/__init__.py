"""Prefect flows over cosmos: orchestration only; and the server that `make serve` starts."""
