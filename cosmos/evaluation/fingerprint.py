"""Fingerprints: short strings that differ once what they are made of does."""

import hashlib
from collections.abc import Iterable


def fingerprint_strings(parts: Iterable[str]) -> str:
    """Return sixteen hex digits that differ between lists of strings."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]
