"""The lock: its values, their canonical text, and whether they satisfy a spec. The functions have no side effects."""
