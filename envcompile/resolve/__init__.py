"""The resolvers: from a spec to exact packages and base images.

One module implements each resolver, and one protocol exists for each package manager. Only this package uses the
network to choose what a lock contains.
"""
