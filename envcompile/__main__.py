"""`python -m envcompile`."""

from envcompile.cli.start import run

run()
