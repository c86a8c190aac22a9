"""Resolvers for pip packages: uv and pip-tools behind one protocol, package indexes, wheels and sdists."""
