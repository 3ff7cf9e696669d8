"""Identity of a pipeline: the parameters and code that decide the result of each stage of dvc.yaml.

pipeline/identity.yaml, on which the stages depend, holds the sections of the parameters, without knobs that
were added after the first release and have their first default, and for each stage a fingerprint of the code
that it imports. So a new knob at its default, a docstring and a comment run no stage again, and a computation
does.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from cosmos.config.experiment import Experiment
from cosmos.config.identity import identifying_values
from cosmos.run.code_fingerprint import ImportedCode

SETTINGS = (
    "cosmos.config.evaluate_params",
    "cosmos.config.experiment",
    "cosmos.config.identity",
    "cosmos.config.job_request",
    "cosmos.config.params",
    "cosmos.config.section",
)
"""Modules whose result is the parameters, which stages depend on."""

DECIDES_NO_RESULT = (
    *("cosmos.config.machine", "cosmos.distributed", "cosmos.errors", "cosmos.run", "cosmos.tracking"),
    *("cosmos.config.number_text", "cosmos.plan", "cosmos.stages.logs"),
    *SETTINGS,
)
"""Modules and packages that the fingerprint of no stage covers."""

PAGE_TEMPLATES = (
    *("frame.html", "page.css", "galleries.css", "page.js", "parts.html"),
    *("headline.html", "training.html", "results.html", "pictures.html", "provenance.html"),
    *("sees.html", "fails.html", "gallery_parts.html"),
)
"""Templates of the page of a pipeline."""

STAGE_CODE: Mapping[str, ImportedCode] = {
    "prepare": ImportedCode("cosmos.stages.prepare", DECIDES_NO_RESULT),
    # evaluations while training change no weight
    "pretrain": ImportedCode("cosmos.stages.pretrain", (*DECIDES_NO_RESULT, "cosmos.evaluation")),
    # the tables of evaluate change no figure
    "evaluate": ImportedCode(
        "cosmos.stages.evaluate",
        (*DECIDES_NO_RESULT, "cosmos.training", "cosmos.data.demo_world", "cosmos.report"),
        ("cosmos/evaluation/prompts.json", "cosmos/report/published.json"),
    ),
    "report": ImportedCode(
        "cosmos.pipeline.report",
        DECIDES_NO_RESULT,
        (
            "cosmos/report/published.json",
            *(f"cosmos/report/templates/{name}" for name in PAGE_TEMPLATES),
        ),
    ),
}
"""Code of the stages of dvc.yaml."""


def dump_identity(experiment: Experiment) -> str:
    """Return the contents of identity.yaml for a pipeline that runs `experiment`."""
    head = {key: getattr(experiment, key) for key in ("name", "about", "cost", "expected")}
    values: dict[str, Any] = {
        "experiment": head,
        **identifying_values(experiment.params.model_dump(mode="json")),
        "code": {stage: code.fingerprint() for stage, code in STAGE_CODE.items()},
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
