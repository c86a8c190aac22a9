"""What is known of images without asking anybody. Data with dates and sources; no decision is made here."""

from __future__ import annotations

from typing import NamedTuple


class System(NamedTuple):
    """An operating system's id (os-release ID-VERSION_ID) and its C library (glibc, X.Y)."""

    os: str
    glibc: str


# Code names as they stand in image tags, and the glibc of each release's own archive (package libc6).
SYSTEMS = {
    "bullseye": System("debian-11", "2.31"),
    "bookworm": System("debian-12", "2.36"),
    "trixie": System("debian-13", "2.41"),
    "focal": System("ubuntu-20.04", "2.31"),
    "jammy": System("ubuntu-22.04", "2.35"),
    "noble": System("ubuntu-24.04", "2.39"),
}

# The newest patch of each Python that is known to this release: the newest build of each in conda-forge's channel
# index as of August 2026. It is assumed where nobody says better, and checked by the build.
PYTHON_PATCHES = {
    "3.9": "3.9.23",
    "3.10": "3.10.20",
    "3.11": "3.11.15",
    "3.12": "3.12.13",
    "3.13": "3.13.15",
    "3.14": "3.14.7",
}

# Where the interpreter is in the `python` images of the hub (their Dockerfile configures --prefix=/usr/local).
PYTHON_IMAGE = "python"
PYTHON_PATH = "/usr/local/bin/python3"

# What conda environments are built on: conda brings all but the C library.
CONDA_BASE = "debian:bookworm-slim"

# Images that hold one static program, by digest as other public projects pin them (gathered 2026-11-22, one source
# each; not read from a registry).
TOOLS = {
    "micromamba": "mambaorg/micromamba:2.0.5-ubuntu24.04"
    "@sha256:1c62a28916ad7a4533555a542a5410e55ea2ed2c1e29f00c8fc3f1c8add111d5",
    "uv": "ghcr.io/astral-sh/uv:0.12.7@sha256:95f2aa1fe59274951cfe9b0cbc7972e879ff1004bc8945d130a32eb0dbd85945",
}
