from tests.search.conftest import _without_waiting

__all__ = ["_without_waiting"]
