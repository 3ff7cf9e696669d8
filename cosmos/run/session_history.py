"""Sessions of a run, from its provenance: code, packages and hardware of each, and changes between them."""

from collections.abc import Sequence
from dataclasses import asdict

from cosmos.config.identity import short_hash
from cosmos.run.provenance_record import RunSession

UNCOMPARED = ("cpus",)
"""Hardware that differs between the nodes of a cluster, and changes no result."""


def session_changes(before: RunSession, after: RunSession) -> list[str]:
    """Return what differs between two sessions, as `torch: 2.12.0 -> 2.13.0`, among what both recorded."""
    old, new = session_facts(before), session_facts(after)
    return [f"{key}: {old[key]} -> {new[key]}" for key in old if key in new and old[key] != new[key]]


def session_facts(session: RunSession) -> dict[str, str]:
    """Return code, packages and hardware of a session, by name."""
    facts = {
        "commit": session.commit[:12] or "unknown",
        "uncommitted changes": short_hash(session.changes_sha256) or "none",
        **{f"data {name}": short_hash(digest) for name, digest in session.data.items()},
        "python": session.python,
        **session.packages,
        **{key: value or None for key, value in asdict(session.hardware).items() if key not in UNCOMPARED},
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


def describe_sessions(sessions: Sequence[RunSession]) -> dict[str, str]:
    """Return a description of each session by its start: of the first, and of what is new in later ones."""
    described: dict[str, str] = {}
    for number, session in enumerate(sessions):
        if number:
            facts = session_changes(sessions[number - 1], session) or ["as before"]
        else:
            facts = [f"{key}: {value}" for key, value in session_facts(session).items()]
        described[f"{number + 1}, {session.started}"] = ", ".join(facts)
    return described
