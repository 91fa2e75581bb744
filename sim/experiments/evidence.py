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
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.gram_concentration")
        for name in ("expected_gram_error", "gram_matrix_variance", "expected_vector_gram_error")
    },
    # Exact as they stand; these hold them against nets.
    "mode_suppression": Supplied(kind="monte-carlo", where="sim.experiments.suppression"),
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.along_gradient")
        for name in ("loss_range_along_gradient", "gradient_change", "effective_smoothness")
    },
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.phase_diagram")
        for name in ("average_squares", "sixty_degree_law", "threshold_angle", "phase_diagram")
    },
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.chains")
        for name in ("chain_recursion", "chain_displacement", "chain_outputs", "sweep_matrix")
    },
    "forgetting": Supplied(kind="monte-carlo", where="sim.experiments.forgetting"),
    "a_posteriori": Supplied(kind="frequency", where="sim.experiments.bounds_against_error"),
    "rademacher_bound": Supplied(kind="frequency", where="sim.experiments.generalisation"),
    "leave_one_out": Supplied(kind="monte-carlo", where="sim.experiments.generalisation"),
    **{
        name: Supplied(kind="monte-carlo", where="sim.experiments.initialisation")
        for name in (
            "output_kernel",
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
