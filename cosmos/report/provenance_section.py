"""Section of a page on the origin of a run, and on the way to get it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cosmos.report.page import Fact, render_section
from cosmos.report.section import ReportSection


@dataclass(frozen=True)
class RunOrigin:
    """Origin of a run: its provenance, its parameters, and commands that repeat it."""

    facts: Sequence[Fact]
    parameters: Sequence[Fact]
    """parameters that differ from the defaults"""
    parameters_text: str = ""
    """all parameters, as an experiment's file"""
    commands: Sequence[str] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    """changes of the code that are in no commit, by a title"""


def provenance_section(origin: RunOrigin) -> ReportSection:
    """Return the section on the origin of a run."""
    return render_section(
        "provenance",
        "Provenance",
        "provenance.html",
        commands=origin.commands,
        parameters=origin.parameters,
        parameters_text=origin.parameters_text,
        changes=origin.changes,
        facts_of_run=origin.facts,
    )
