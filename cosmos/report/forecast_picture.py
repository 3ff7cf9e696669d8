"""Plot of a curve with the fan of its forecast, for a page."""

from typing import Any

from cosmos.report.plotly import PlotlyFigure
from cosmos.report.training_plots import LINE_COLOURS, thin_curve
from cosmos.run.statistics.forecasts import FORECAST_LEVEL, FigureCurve, ForecastFan

FAN_COLOUR = "rgba(59, 130, 246, 0.2)"
"""Colour of the interval, which shows on white and on black."""


def forecast_plot(title: str, curve: FigureCurve, fan: ForecastFan) -> PlotlyFigure:
    """Return the plot of a curve until now, and of its forecast with the interval from there on."""
    points = thin_curve(list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True)))
    line = {"color": LINE_COLOURS[0], "width": 1.75}
    traces = [
        *interval_traces(fan),
        fan_trace(fan, "value", name="forecast", line={**line, "dash": "dash"}),
        {
            **{"type": "scatter", "mode": "lines", "name": "until now", "line": line},
            "x": [step for step, _ in points],
            "y": [float(f"{value:.6g}") for _, value in points],
        },
    ]
    axis = {"title": {"text": "step"}, "rangemode": "tozero"}
    layout = {"xaxis": axis, "showlegend": True, "hovermode": "x unified"}
    return PlotlyFigure(title, {"data": traces, "layout": layout})


def interval_traces(fan: ForecastFan) -> list[dict[str, Any]]:
    """Return the edges of a fan, with the colour between them."""
    edge = {"line": {"width": 0}, "hoverinfo": "skip"}
    filling = {"fill": "tonexty", "fillcolor": FAN_COLOUR, "name": f"{FORECAST_LEVEL:.0%} interval"}
    return [fan_trace(fan, "high", showlegend=False, **edge), fan_trace(fan, "low", **filling, **edge)]


def fan_trace(fan: ForecastFan, part: str, **options: Any) -> dict[str, Any]:
    """Return a line through a part of all forecasts: `low`, `value` or `high`."""
    values = [float(f"{getattr(forecast, part):.6g}") for forecast in fan.forecasts]
    return {"type": "scatter", "mode": "lines", "x": list(fan.steps), "y": values, **options}
