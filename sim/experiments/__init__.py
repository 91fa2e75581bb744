"""Experiments by name: each is a module with `NAME`, `TITLE`, `Config.profile` and `run`."""

__all__ = ["PROFILES", "check_writable", "experiment", "names", "run_experiment"]

from sim.experiments.registry import PROFILES, check_writable, experiment, names, run_experiment
