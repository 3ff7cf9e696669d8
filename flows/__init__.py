"""Prefect flows over cosmos: orchestration only."""
