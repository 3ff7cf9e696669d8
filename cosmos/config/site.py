"""Figures of the site that plans are made for: its network, its power and its prices."""

from typing import Annotated

from pydantic import Field

from cosmos.config.section import Amount, Section, Weight


class SiteSettings(Section):
    """Network, power and prices of the machines that jobs run on, for `cosmos plan`."""

    network_gbit: Amount = 200.0
    """Gbit/s by which a node reaches the others, all of its adapters together"""
    host_watts: Weight = 400.0
    """rated power of a node beside its GPUs, for each GPU: of a DGX A100, 6.5 kW without 8 x 400 W"""
    pue: Annotated[float, Field(ge=1)] = 1.0
    """power of the whole site over that of its machines; 1: cooling and losses are not counted"""
    gpu_hour_price: Weight = 0.0
    """price of a GPU for an hour; 0: not stated"""
    kwh_price: Weight = 0.0
    """price of a kilowatt-hour, where it is paid beside the GPUs; 0: not stated"""
    currency: str = "EUR"
    """currency of both prices"""
