"""Explicit-constant bounds: what a finite net may do at most, from its width (a priori) or from its measured kernel (a posteriori)."""

from __future__ import annotations
