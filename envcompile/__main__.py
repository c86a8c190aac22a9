"""`python -m envcompile`."""

from envcompile.cli.main import run

run()
