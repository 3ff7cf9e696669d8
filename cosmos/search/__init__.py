"""Search: sweeps over parameters, their trials, and what comes out."""
