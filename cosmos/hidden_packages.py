"""Packages that open_clip or timm import where they are installed, and that nothing here needs of them.

One that hangs or fails when it is imported would stop training, so open_clip is loaded as if they were not
installed. Weights & Biases is for the process of the mirror alone (`cosmos.tracking`).
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

HIDDEN = ("wandb", "horovod", "apex", "inplace_abn", "transformers")


class OpenClipLoader(SourceFileLoader):
    """Loader of open_clip, and with it of timm, that hides packages from them."""

    def exec_module(self, module: ModuleType) -> None:
        """Load the package without the hidden ones."""
        with hiding(HIDDEN):
            super().exec_module(module)


class OpenClipFinder:
    """Finder for `sys.meta_path` that has open_clip loaded by OpenClipLoader, and finds nothing else."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of open_clip; None for any other module."""
        spec = PathFinder.find_spec(name, path, target) if name == "open_clip" else None
        if spec and spec.origin:
            spec.loader = OpenClipLoader(name, spec.origin)
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
