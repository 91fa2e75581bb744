"""Certified numbers: Arb balls that provably contain what the closed forms say of a problem, floats taken as exact."""

__all__ = ["Certificate", "certify", "DigitsLost", "digits_lost"]

from theory.certified.certificate import Certificate, certify
from theory.certified.digits import DigitsLost, digits_lost
