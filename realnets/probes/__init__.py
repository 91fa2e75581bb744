"""Measurements on a network that leave it as it was."""

from realnets.probes.directions import filter_normalised, random_direction, towards
from realnets.probes.displacement import Displacement, Moved, displacement
from realnets.probes.filter_curvature import FilterCurvature, filter_curvature
from realnets.probes.gradient_spectrum import BlockGradient, GradientSpectrum, LayerModes, ModeEnergy, gradient_spectrum
from realnets.probes.hessian_top import HessianTop, hessian_top
from realnets.probes.hessian_trace import HessianTrace, hessian_trace
from realnets.probes.hvp import Hessian, hessian_operator
from realnets.probes.interpolation import Interpolation, interpolation
from realnets.probes.landscape import Landscape, landscape
from realnets.probes.smoothness import AlongGradient, SmoothnessTrace, loss_along_gradient
from realnets.probes.spectral_density import SpectralDensity, spectral_density

__all__ = [
    # How far weights moved.
    "displacement",
    "Displacement",
    "Moved",
    # Curvature.
    "hessian_operator",
    "Hessian",
    "hessian_top",
    "HessianTop",
    "hessian_trace",
    "HessianTrace",
    "spectral_density",
    "SpectralDensity",
    "filter_curvature",
    "FilterCurvature",
    # Along the gradient, and where it points.
    "loss_along_gradient",
    "AlongGradient",
    "SmoothnessTrace",
    "gradient_spectrum",
    "GradientSpectrum",
    "BlockGradient",
    "LayerModes",
    "ModeEnergy",
    # Landscapes.
    "landscape",
    "Landscape",
    "interpolation",
    "Interpolation",
    "random_direction",
    "filter_normalised",
    "towards",
]
