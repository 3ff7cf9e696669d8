"""Energy and cost of a run, where power and prices are known."""

from dataclasses import dataclass

from cosmos.plan.workload import Span, Workload

POWER = Span(0.5, 0.8)
"""Share of their rated power that GPUs and their nodes take in training.

High end: 76% of a node's rating at most, measured of eight H100 (arXiv 2506.14551); low end: an assumption.
"""

POWER_SOURCE = "50% to 80% of rated power (arXiv 2506.14551: 76% of an H100 node's)"


@dataclass(frozen=True)
class EnergyPlan:
    """Energy of a run, and its cost in the site's prices."""

    kwh: Span
    """kilowatt-hours of GPUs and their nodes, times the site's PUE"""
    cost: Span | None
    """None: the site states no price"""
    currency: str
    source: str = POWER_SOURCE


def plan_energy(workload: Workload, device_hours: Span) -> EnergyPlan | None:
    """Return energy and cost of a run that takes so many hours of its devices; None without GPUs."""
    if workload.gpu is None:
        return None
    site = workload.site
    watts = POWER.times((workload.gpu.watts + site.host_watts) * site.pue)
    kwh = Span(device_hours.low * watts.low / 1000, device_hours.high * watts.high / 1000)
    cost = device_hours.times(site.gpu_hour_price).plus(kwh.times(site.kwh_price))
    is_priced = site.gpu_hour_price > 0 or site.kwh_price > 0
    return EnergyPlan(kwh, cost if is_priced else None, site.currency)
