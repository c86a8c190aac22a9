"""Resolving pip packages: uv and pip-tools behind one protocol, the package index, and sdists."""
