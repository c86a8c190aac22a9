"""The files of a project: which belong together, how they are read and written, and the settings of the user.

This module imports nothing: `verify` starts through it.
"""

# A spec has a few kilobytes, and no TOML of this size keeps the parser busy for a second.
MAX_SPEC_BYTES = 256 << 10
