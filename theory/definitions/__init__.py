"""The quantities of the theory from first principles, at whatever precision mpmath works in; no closed forms."""

__all__ = ["cases", "gaussian", "hidden", "kernels", "linear_model", "pretraining", "scalar"]

from theory.definitions import cases, gaussian, hidden, kernels, linear_model, pretraining, scalar
