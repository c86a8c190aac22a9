"""`python -m envcompile`."""

from envcompile.cli.entry import run_command_line

run_command_line()
