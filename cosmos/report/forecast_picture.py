"""Plot of a curve with the fan of its forecast, for a page."""

from cosmos.report.plotly import PlotlyFigure
from cosmos.report.training_plots import LINE_COLOURS, thin_curve
from cosmos.run.statistics.forecasts import FORECAST_LEVEL, FigureCurve, ForecastFan

FAN_COLOUR = "rgba(59, 130, 246, 0.2)"
"""Colour of the interval, which shows on white and on black."""


def forecast_plot(title: str, curve: FigureCurve, fan: ForecastFan, per_step: int = 1) -> PlotlyFigure:
    """Return the plot of a curve until now, and of the forecast with its interval from there on.

    `per_step`: units of the axis in a step.
    """
    colour, shown = (
        LINE_COLOURS[0],
        thin_curve(list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))),
    )
    later = [step * per_step for step in fan.steps]
    line = {"type": "scatter", "mode": "lines"}
    edge = {**line, "x": later, "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    traces = [
        {**edge, "y": [forecast.high for forecast in fan.forecasts]},
        {
            **edge,
            "y": [forecast.low for forecast in fan.forecasts],
            **{
                "fill": "tonexty",
                "fillcolor": FAN_COLOUR,
                "name": f"{FORECAST_LEVEL:.0%} interval",
                "showlegend": True,
            },
        },
        {
            **line,
            "name": "forecast",
            "x": later,
            "y": [forecast.value for forecast in fan.forecasts],
            "line": {"color": colour, "width": 1.75, "dash": "dash"},
        },
        {
            **line,
            "name": "until now",
            "x": [step * per_step for step, _ in shown],
            "y": [float(f"{value:.6g}") for _, value in shown],
            "line": {"color": colour, "width": 1.75},
        },
    ]
    axis = {"title": {"text": "step" if per_step == 1 else "samples"}, "rangemode": "tozero"}
    layout = {"xaxis": axis, "showlegend": True, "hovermode": "x unified"}
    return PlotlyFigure(title, {"data": traces, "layout": layout})
