"""Resolvers for conda packages: py-rattler and conda-lock behind one protocol, each in a separate process."""
