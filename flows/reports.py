"""Reports as artifacts: the figures of a pipeline, and the page that has all of it.

The UI follows no link to a file, so that the page is named by its path.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from prefect.artifacts import create_markdown_artifact

from cosmos.config.evaluate_params import SuiteName
from cosmos.pipeline.directory import PipelineDir
from cosmos.report.loss_picture import LossFollower
from cosmos.report.markdown import markdown_code, markdown_text
from cosmos.report.tables import ScoreRow, score_tables
from cosmos.run.results import Results
from cosmos.stages.evaluation_result import dataset_scores

REPORT = "report"
"""Key of the artifact."""


def create_pipeline_report(workspace: Path, pipeline: PipelineDir) -> None:
    """Create an artifact with the figures and the loss of a pipeline, which names the page of its report."""
    create_markdown_artifact(pipeline_markdown(workspace, pipeline), key=REPORT)


def pipeline_markdown(workspace: Path, pipeline: PipelineDir) -> str:
    """Return the figures and the loss of a pipeline, and the path of its report, as Markdown."""
    loss = LossFollower(workspace / pipeline.model.metrics)
    loss.update()
    files = [Results(workspace / pipeline.results(suite), suite) for suite in get_args(SuiteName)]
    remark = "`dvc metrics diff` and `dvc plots diff` compare it with other commits."
    parts = [name_page(workspace / pipeline.page), remark, *map(suite_markdown, files)]
    return "\n\n".join([*parts, f"Loss: {loss.last}", loss.picture])


def suite_markdown(file: Results) -> str:
    """Return the figures of a suite as Markdown, a table for each dataset."""
    scores = [dataset_scores(file.suite, label, entry) for label, entry in file.entries().items()]
    tables = [
        f"**{markdown_text(f'{file.suite}: {dataset}')}**\n\n{figures_markdown(table.headings, rows)}"
        for table in score_tables(file.suite, scores)
        for dataset, rows in table.blocks
    ]
    return "\n\n".join(tables)


def figures_markdown(headings: Sequence[str], rows: Sequence[ScoreRow]) -> str:
    """Return a table with a row for each figure: the UI's column is too narrow for a column each."""
    figures = [[heading, *(row.cells[number] for row in rows)] for number, heading in enumerate(headings)]
    return markdown_table(["", *(row.name for row in rows)], figures)


def name_page(page: Path) -> str:
    """Return a sentence that names the file of a page, as Markdown."""
    return f"The whole report: open {markdown_code(str(page.absolute()))} in a browser."


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return texts as a table in Markdown."""
    lines = [list(map(markdown_text, headings)), ["---"] * len(headings)]
    lines += [list(map(markdown_text, row)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
