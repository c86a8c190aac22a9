"""What is the same in every image: where the environment is, and how an image is labelled."""

from __future__ import annotations

ENVIRONMENT = "/env"


def labels(cuda: str | None, driver: str | None) -> dict[str, str]:
    """What a reader of the image should know without running it: its CUDA, and the oldest driver that runs it."""
    told = {"envcompile.cuda": cuda, "envcompile.driver": driver}
    return {name: value for name, value in told.items() if value}
