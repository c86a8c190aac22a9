"""The foundation of every message: errors, rules, positions in a TOML text, and how a diagnostic is drawn.

This module imports nothing: `verify` starts through it.
"""
