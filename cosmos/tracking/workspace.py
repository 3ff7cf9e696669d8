"""Workspace of Weights & Biases that compares the trials of a sweep."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cosmos.config.figures import direction_of
from cosmos.config.wandb import WandbSettings
from cosmos.errors import InputError, TransientError, error_class
from cosmos.tracking.curves import EVALUATED_SAMPLES, SUITES, curve_direction
from cosmos.tracking.session import has_wandb_key

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes
    from wandb_workspaces.workspaces import Workspace

MAX_RUNS = 100
"""Trials whose curves a panel shows."""


def save_sweep_workspace(
    settings: WandbSettings, sweep_id: str, objective: str, params: Sequence[str]
) -> str:
    """Save a workspace on the trials of a sweep in W&B; return its address.

    Each call saves a new one. Raises InputError where the extra `workspaces` is not installed, no API key is
    configured, or W&B does not accept it; TransientError where W&B does not answer.
    """
    check_workspace_setup()
    import wandb

    try:
        entity = settings.entity or wandb.Api().default_entity or ""
        workspace = sweep_workspace(entity, settings.project, sweep_id, objective, params)
        workspace.save_as_new_view()  # type: ignore[no-untyped-call]
    except Exception as error:  # W&B's errors have no common base; those of the network are OSErrors
        kind = TransientError if error_class(error) is TransientError else InputError
        reason = " ".join(str(error).split())
        raise kind(
            f"W&B did not save a workspace for {sweep_id}: {reason}\n"
            "check WANDB_API_KEY, COSMOS_WANDB__ENTITY and COSMOS_WANDB__PROJECT (which a first run makes)"
        ) from None
    return str(workspace.url)


def check_workspace_setup() -> None:
    """Raise InputError where the extra `workspaces` is not installed, or no API key is configured."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        raise InputError(
            "a workspace needs wandb-workspaces: pip install 'cosmos-pretraining[workspaces]'"
        ) from None
    if not has_wandb_key():
        raise InputError("a workspace needs an account: set WANDB_API_KEY, or run `wandb login`")


def sweep_workspace(
    entity: str, project: str, sweep_id: str, objective: str, params: Sequence[str]
) -> "Workspace":
    """Return a workspace of parameters beside the objective, their importance, and curves by samples seen."""
    from wandb_workspaces import expr, workspaces

    is_trial = expr.And(expr.Metric("Group") == sweep_id, expr.Metric("JobType") == "pretrain")
    figure, is_ascending = summary_key(objective), direction_of(objective) == "min"
    search = workspaces.Section(name="Search", panels=search_panels(figure, params), is_open=True)
    curves = workspaces.Section(name="Learning curves", panels=curve_panels(), is_open=True)
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=sweep_id,
        sections=[search, curves],
        settings=workspaces.WorkspaceSettings(x_axis="samples", max_runs=MAX_RUNS),
        runset_settings=workspaces.RunsetSettings(
            filters=is_trial,
            order=[workspaces.Ordering(workspaces.Summary(figure), is_ascending)],
            pinned_columns=[
                f"summary:{figure}",
                *(f"config:{param.replace('.', '.value.', 1)}" for param in params),
            ],
        ),
    )


def search_panels(figure: str, params: Sequence[str]) -> "list[PanelTypes]":
    """Return panels that show the effect of the parameters on a figure of the summary."""
    from wandb_workspaces.reports.v2 import interface as v2

    column = v2.ParallelCoordinatesPlotColumn
    columns = [column(v2.Config(param), display_name=param) for param in params]
    return [
        v2.ParallelCoordinatesPlot(
            title=figure,
            columns=[*columns, column(v2.SummaryMetric(figure))],
            layout=v2.Layout(x=0, y=0, w=24, h=9),
        ),
        v2.ParameterImportancePlot(with_respect_to=figure, layout=v2.Layout(x=0, y=9, w=24, h=9)),
    ]


def curve_panels() -> "list[PanelTypes]":
    """Return panels of the loss and of evaluations in training, by samples seen."""
    from wandb_workspaces.reports.v2 import interface as v2

    return [
        v2.LinePlot(title="loss", x="samples", y=["loss"], log_y=True),
        v2.LinePlot(title="evaluations in training", x=EVALUATED_SAMPLES, metric_regex="evaluation/.*R@1"),
    ]


def summary_key(objective: str) -> str:
    """Return the key of an objective in the summary: a result's name, or `.last` of a curve."""
    is_curve = curve_direction(objective) and objective.split("/")[0] not in SUITES
    return f"{objective}.last" if is_curve else objective
