"""Section of a page on the plan of a run, with what was measured beside it where the run is there."""

from collections.abc import Mapping
from dataclasses import replace

from cosmos.config.number_text import count_of
from cosmos.plan.planned_run import PlannedRun
from cosmos.plan.table import PlanLine, PlanPart, plan_parts
from cosmos.report.page import render_page, render_section
from cosmos.report.section import ReportSection

MeasuredFigures = Mapping[tuple[str, str], str]
"""Measured figures as text, by the title of their part and their name."""


def plan_section(planned: PlannedRun, measured: MeasuredFigures | None = None) -> ReportSection:
    """Return the section of a plan; `measured`: figures of the run that it is of."""
    measured = measured or {}
    return render_section(
        "plan",
        "Plan",
        "plan.html",
        parts=[with_measured_lines(part, measured) for part in plan_parts(planned)],
        measured=measured,
        errors=planned.errors,
        warnings=planned.warnings,
    )


def with_measured_lines(part: PlanPart, measured: MeasuredFigures) -> PlanPart:
    """Return a part with a line for each figure that was measured and could not be planned, too."""
    names = {line.name for line in part.lines}
    more = [name for title, name in measured if title == part.title and name not in names]
    return replace(part, lines=(*part.lines, *(PlanLine(name, "") for name in more)))


def plan_page(planned: PlannedRun) -> str:
    """Return the page of a plan alone as HTML."""
    return render_page(
        f"Plan of {planned.name}", [describe_verdict_of_plan(planned)], [plan_section(planned)]
    )


def describe_verdict_of_plan(planned: PlannedRun) -> str:
    """Return the verdict on a plan in a sentence."""
    errors, warnings = len(planned.errors), len(planned.warnings)
    if errors:
        return f"The plan has {count_of(errors, 'error')}: the run cannot work so."
    rest = f", and {count_of(warnings, 'warning')}" if warnings else ""
    return f"The plan has no error{rest}."
