"""Evidence that simulations supply for the theory's entries, by their names; held against what the entries declare."""

from __future__ import annotations

from theory.formula import Supplied

EVIDENCE = {
    "relu_gram": Supplied(kind="monte-carlo", where="sim.experiments.ladder"),
    "gradient_energy": Supplied(kind="monte-carlo", where="sim.experiments.ladder"),
    "fine_tuning_displacement": Supplied(kind="rate", where="sim.experiments.width_law"),
}
