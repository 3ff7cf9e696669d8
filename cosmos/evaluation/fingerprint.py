"""Fingerprints: short hashes of lists of strings."""

import hashlib
from collections.abc import Iterable


def fingerprint_strings(parts: Iterable[str]) -> str:
    """Return a hash of a list of strings, in sixteen hex digits."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]
