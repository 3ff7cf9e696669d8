"""Loss of a pretraining that goes on, with a small picture of its curve for a page in Markdown."""

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from cosmos.config.figures import LOSS, STEP
from cosmos.config.number_text import format_number
from cosmos.run.metrics import MetricsTail

MAX_POINTS = 200
"""Largest number of points of a picture's curve."""

_CURVE, _FRAME = "#3b82f6", "#808080"
"""Colours that can be seen on white and on black."""


class LossFollower:
    """Losses in a growing metrics file, by step, and the picture of their curve."""

    def __init__(self, metrics: Path) -> None:
        self.tail = MetricsTail(metrics)
        self.losses: dict[int, float] = {}
        self.picture = ""
        """Markdown of the picture; "" before there is a curve"""

    def update(self) -> None:
        """Read the lines that were logged since the last call, and draw the curve again where there are any.

        Raises OSError where the disk fails.
        """
        lines = self.tail.new_lines()
        if self.tail.is_anew:
            self.losses.clear()
        self.losses |= {line[STEP.name]: line[LOSS.name] for line in lines if line.get(LOSS.name) is not None}
        if lines or self.tail.is_anew:
            self.picture = draw_losses(self.losses) if len(self.losses) > 1 else ""

    @property
    def last(self) -> str:
        """Loss of the last step, as text; "" before there is one."""
        return format_number(self.losses[max(self.losses)]) if self.losses else ""


def draw_losses(losses: Mapping[int, float]) -> str:
    """Return a small picture of losses over their steps, as Markdown that holds the whole of it."""
    from matplotlib.figure import Figure  # late: most flows draw nothing

    steps = sorted(losses)
    shown = [*steps[:: -(-len(steps) // MAX_POINTS)], steps[-1]]
    figure = Figure(figsize=(5, 1.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(shown, [losses[step] for step in shown], color=_CURVE, linewidth=1.2)
    axes.set_xlabel("step", color=_FRAME, fontsize=8)
    axes.set_ylabel("loss", color=_FRAME, fontsize=8)
    axes.tick_params(color=_FRAME, labelcolor=_FRAME, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set(color=_FRAME, visible=side in ("left", "bottom"))
    file = BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return f"![loss by step](data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()})"
