from tests.stages.conftest import place

__all__ = ["place"]
