"""Figures and verdicts from records: theory as lines, simulation as points."""

__all__ = ["commands", "drawing", "figures", "kernel_prediction", "ladder", "pretraining_stage", "report", "sample_size", "width_law"]
