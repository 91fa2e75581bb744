"""Measurements on a network that leave it as it was."""

__all__ = ["Displacement", "Moved", "displacement"]

from realnets.probes.displacement import Displacement, Moved, displacement
