"""Closed forms as functions of a Gram matrix, for any array library."""

__all__ = ["gram", "landscape", "spectrum", "stages", "turning"]

from theory.numeric import gram, landscape, spectrum, stages, turning
