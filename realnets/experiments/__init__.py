"""Experiments on real networks by name: each is a module with `NAME`, `TITLE`, `Config.profile` and `run`."""

__all__ = ["DEVICES", "PROFILES", "experiment", "names", "resolve_device", "run_experiment"]

from realnets.experiments.registry import DEVICES, experiment, names, resolve_device, run_experiment
from sim.experiments.registry import PROFILES
