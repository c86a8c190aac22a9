"""A comparison that cannot be made here."""


class Skipped(Exception):  # noqa: N818 - nothing is wrong with us
    """Raised in place of a comparison; the text says why it cannot be made here."""
