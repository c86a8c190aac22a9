"""Errors, diagnostic rules, positions in TOML and JSON texts, and the formatting of diagnostics.

This file imports nothing, because every run of `verify` loads it.
"""
