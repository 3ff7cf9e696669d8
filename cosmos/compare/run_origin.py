"""Origin of a run for its report: provenance, parameters, and the commands that repeat it."""

import shlex
from collections.abc import Iterator

from cosmos.compare.reported_run import ReportedRun
from cosmos.config.identity import describe_changes, short_hash
from cosmos.config.params import Params
from cosmos.config.printable_text import cosmos_command
from cosmos.config.settings_file import dump_settings
from cosmos.report.page import Fact
from cosmos.report.provenance_section import RunOrigin
from cosmos.stages.report_facts import measuring_facts, provenance_facts

MAX_CHANGES = 200_000
"""Characters of the changes of the code that a page has."""


def origin_of_run(run: ReportedRun) -> RunOrigin:
    """Return the origin of a run."""
    facts = [*provenance_facts(run.provenance), *measuring_facts(list(run.results.values()))]
    if run.params is None:
        return RunOrigin(facts, [])
    return RunOrigin(
        facts,
        [Fact(*line.split(": ", 1)) for line in describe_changes(Params(), run.params)],
        dump_settings(run.params.model_dump(mode="json")),
        list(repeating_commands(run)),
        code_changes(run),
    )


def repeating_commands(run: ReportedRun) -> Iterator[str]:
    """Yield the commands that prepare the data, train the run and measure it again."""
    sessions = run.provenance.sessions
    if sessions and sessions[-1].commit:
        changes = "; git apply changes.diff" if sessions[-1].changes_sha256 else ""
        yield f"git checkout {shlex.quote(sessions[-1].commit)}{changes}"
    name = f"{run.label}-again"
    yield "cosmos prepare --experiment again.yaml"
    yield cosmos_command("pretrain", "--experiment", "again.yaml", "--run", name)
    yield cosmos_command("evaluate", "--experiment", "again.yaml", "--run", name)


def code_changes(run: ReportedRun) -> dict[str, str]:
    """Return the changes of the code that are in no commit, by a title."""
    recorded = {
        **{session.changes_sha256: session.diff for session in run.provenance.sessions if session.diff},
        **run.provenance.diffs,
    }
    return {
        f"changes.diff: code that is in no commit, sha256 {short_hash(digest)}": cut_changes(text)
        for digest, text in recorded.items()
    }


def cut_changes(text: str) -> str:
    """Return changes, cut where they are longer than a page has room for."""
    return text if len(text) <= MAX_CHANGES else f"{text[:MAX_CHANGES]}\n(cut; provenance.json has it all)"
