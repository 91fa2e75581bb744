"""Figures and verdicts from records: theory as lines, simulation as points."""

__all__ = ["commands", "drawing", "figures", "ladder", "pretraining_stage", "width_law"]
