"""Resolving conda packages: rattler and conda-lock behind one protocol, each in a process of its own."""
