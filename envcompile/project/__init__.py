"""The files of a project: which belong together, how they are read and written, and the settings of the user.

This module imports nothing, because every run of `verify` imports it.
"""

# The limit for a spec. Usual specs have a few kilobytes; the parser takes less than a second for any TOML of this size.
MAX_SPEC_BYTES = 256 << 10

# In the names of temporary files, whose leftovers are removed: `.envcompile.lock.envcompile-1a2b3c4d` has the new
# content of `envcompile.lock`.
TEMPORARY_MARK = ".envcompile-"
