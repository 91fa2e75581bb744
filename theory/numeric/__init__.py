"""Closed forms as functions of a Gram matrix, for any array library."""

__all__ = ["gram", "kernels", "landscape", "spectrum", "stages", "turning"]

from theory.numeric import gram, kernels, landscape, spectrum, stages, turning
