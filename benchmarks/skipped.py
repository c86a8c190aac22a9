"""The exception of a comparison that cannot run here."""


class Skipped(Exception):  # noqa: N818 - nothing is wrong with us
    """Raised if a comparison cannot run here. The text is the reason."""
