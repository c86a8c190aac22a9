"""The solvers: the only place with a network. One module per back end, one protocol for each kind of package."""
