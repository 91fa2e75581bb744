"""Timed comparisons with the systems that do parts of the same job; see `README.md` here."""
