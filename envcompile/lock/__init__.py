"""The lock: what was answered, pinned. Values, their one canonical text, and whether they answer a spec. No effects."""
