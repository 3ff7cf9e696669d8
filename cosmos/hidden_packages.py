"""Large packages, loaded without what nothing here needs of them.

They import others where those are installed. One that hangs or fails then would stop training, and each costs
every command its time. So large packages are loaded as if the others were not installed. Weights & Biases is
for the process of the mirror alone (`cosmos.tracking`).
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

HIDDEN: dict[str, tuple[str, ...]] = {
    "torch": (),
    "torchvision": (),
    "open_clip": ("wandb", "horovod", "apex", "inplace_abn", "transformers"),
    "optuna": ("redis",),
    "optuna.visualization": ("matplotlib",),
}
"""Packages by the large one that they are hidden from, and from what it imports, such as timm."""


class HidingLoader(SourceFileLoader):
    """Loader of a large package that hides others from it."""

    def exec_module(self, module: ModuleType) -> None:
        """Load the package without the hidden ones."""
        with hiding(HIDDEN[self.name]), pausing_collection():
            super().exec_module(module)


class HidingFinder:
    """Finder for `sys.meta_path` that has packages in HIDDEN loaded by HidingLoader, and finds no other."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a package in HIDDEN; None for any other module."""
        spec = PathFinder.find_spec(name, path, target) if name in HIDDEN else None
        if spec and spec.origin:
            spec.loader = HidingLoader(name, spec.origin)
        return spec


@contextmanager
def hiding(packages: Sequence[str]) -> Iterator[None]:
    """Have imports of packages that are not loaded yet fail as if they were not installed."""
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None ends an import in ImportError
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@contextmanager
def pausing_collection() -> Iterator[None]:
    """Look for no garbage inside: among what is imported there is none, and looking takes its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
