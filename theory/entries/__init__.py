"""Bindings: each module lists the entries of one subject, with their twins' calls and their closed forms' evaluation."""

__all__ = ["filters", "kernel", "landscape", "modes", "pretraining", "scales", "stage", "transfer"]

from theory.entries import filters, kernel, landscape, modes, pretraining, scales, stage, transfer
