"""Pages of runs in which a stranger, a large dataset or a failure left its mark."""

import json
from collections.abc import Iterator
from pathlib import Path

from cosmos.compare.run_report import write_run_report
from cosmos.config.machine import Machine
from cosmos.report.gallery_sections import gallery_sections
from cosmos.report.page import render_page
from cosmos.run.results import Results
from tests.compare.compared import make_run
from tests.hostile_texts import HOSTILE_NAMES, HOSTILE_TEXTS
from tests.report.galleries.examples import accuracies, at_ranks, classified, galleries, gallery, retrieval

MANY_CLASSES = [f"{HOSTILE_NAMES[number % len(HOSTILE_NAMES)]} {number}" for number in range(1000)]


def planted_pages(folder: Path) -> Iterator[Path]:
    """Yield pages of hostile names, of 1,000 classes, and of a run that was requeued and never measured."""
    machine = Machine(runs_root=folder / "runs", data_root=folder / "data")
    names = '"><script>alert(1)<', "b" * 200
    for name in names:
        run = make_run(machine.runs_root, name, done=False)
        figures = {"top1": 0.5, **{f"accuracy/{label}": 0.5 for label in MANY_CLASSES}}
        models = dict.fromkeys(("teacher", *HOSTILE_TEXTS[:3]), figures)
        entry = {"models": models, "note": "".join(HOSTILE_TEXTS), "title": HOSTILE_TEXTS[5]}
        Results(run.result_file("classification"), "classification").put(HOSTILE_NAMES[6], entry)
        sessions = [{"step": 0}, {"step": 4, "job": {"requeues": 1}, "command": HOSTILE_NAMES}]
        run.provenance.write_text(json.dumps({"data": {}, "sessions": sessions}))
    yield Path(write_run_report(names[0], names[1], machine, folder / "two.html", quiet=True)["report"])
    empty = make_run(machine.runs_root, "empty", done=False)
    empty.metrics.unlink()
    yield Path(write_run_report("empty", "", machine, folder / "empty.html", quiet=True)["report"])
    yield page_of_galleries(folder / "galleries.html")


def page_of_galleries(path: Path) -> Path:
    """Write the page of what a model gets wrong, among 1,000 classes and hostile captions."""
    labels = range(1000)
    classes = classified(labels, [(label + label % 3) % 1000 for label in labels], MANY_CLASSES)
    captions = retrieval(at_ranks(*range(len(HOSTILE_TEXTS))), HOSTILE_TEXTS)
    shown = galleries(gallery(captions), gallery(classes, "classification", {"teacher": accuracies(classes)}))
    path.write_text(render_page("galleries", [], gallery_sections(shown, None)))
    return path
