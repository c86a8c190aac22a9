"""The files of a project: which belong together, how they are read and written, and the settings of the user.

This module imports nothing: `verify` starts through it.
"""
