"""Writes the Dockerfile of a plan, and computes its tag. Templates and quoting, but no decisions."""
