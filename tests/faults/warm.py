"""Imports of everything that commands import, so that their forks need not."""

import gc
import importlib
import pkgutil

import cosmos


def import_everything() -> None:
    """Import all modules of the package, but for the one that runs it."""
    for module in pkgutil.walk_packages(cosmos.__path__, "cosmos."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # forks then share these objects, since no collection writes into them
