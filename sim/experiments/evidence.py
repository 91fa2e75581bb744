"""Evidence that simulations supply for the theory's entries, by their names; held against what the entries declare."""

from __future__ import annotations

from theory.formula import Supplied

EVIDENCE = {
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.population")
        for name in ("sphere_tangent_eigenvalues", "population_error", "population_remaining")
    },
    "relu_gram": Supplied(kind="monte-carlo", where="sim.experiments.ladder"),
    "gradient_energy": Supplied(kind="monte-carlo", where="sim.experiments.ladder"),
    "rademacher_bound": Supplied(kind="frequency", where="sim.experiments.generalisation"),
    "leave_one_out": Supplied(kind="monte-carlo", where="sim.experiments.generalisation"),
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.initialisation")
        for name in (
            "output_kernel",
            "expected_gram_error",
            "gram_matrix_variance",
            "expected_vector_gram_error",
            "start_moments",
            "start_moments_at_width",
        )
    },
    "fresh_head": Supplied(kind="rate", where="sim.experiments.fresh_head"),
    "equal_flatness": Supplied(kind="rate", where="sim.experiments.fresh_head"),
    "orthogonal_run": Supplied(kind="monte-carlo", where="sim.experiments.orthogonal_drift"),
    "relative_drift": Supplied(kind="rate", where="sim.experiments.orthogonal_drift"),
    "fine_tuning_displacement": Supplied(kind="rate", where="sim.experiments.width_law"),
    **{
        name: Supplied(kind="frequency", where="sim.experiments.guarantees")
        for name in (
            "bernstein_deviation",
            "deviation_of_mean",
            "entrywise_deviation",
            "initial_deviation",
            "least_eigenvalue_width",
            "flipped_share",
            "guarantee",
        )
    },
}
