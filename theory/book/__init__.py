"""The derivations of the registry as a book: HTML, LaTeX or Markdown."""

__all__ = [
    # mathematics as a tree
    "nodes",
    "layout",
    "atoms",
    "tokens",
    "reader",
    "formulas",
    "names",
    "brackets",
    "expressions",
    "mathml",
    "tex",
    # what the book holds
    "structure",
    "symbols",
    "conventions",
    "references",
    "works",
    # its formats
    "equations",
    "html",
    "latex",
    "markdown",
    "writing",
]
