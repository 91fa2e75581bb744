"""Finite-width two-layer nets: simulated, measured, and held against `theory`."""

__all__ = ["initial_net", "simulate", "simulate_seeds", "simulate_stages"]

from sim.networks import initial_net
from sim.training import simulate, simulate_seeds, simulate_stages
