"""Writes the Dockerfile of a plan, and computes its tag: templates and quoting, without decisions."""
