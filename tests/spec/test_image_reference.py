"""Image references: their parts and their registry."""

from __future__ import annotations

import pytest

from envcompile.spec.values import remove_digest, split_image_reference

DIGEST = "sha256:" + 64 * "0"


@pytest.mark.parametrize(
    ("image", "name", "tag", "digest", "registry", "repository"),
    [
        ("python", "python", None, None, "docker.io", "library/python"),
        ("python:3.12", "python", "3.12", None, "docker.io", "library/python"),
        (f"python:3.12@{DIGEST}", "python", "3.12", DIGEST, "docker.io", "library/python"),
        ("team/app", "team/app", None, None, "docker.io", "team/app"),
        ("docker.io/python", "docker.io/python", None, None, "docker.io", "library/python"),
        ("index.docker.io/team/app", "index.docker.io/team/app", None, None, "docker.io", "team/app"),
        ("ghcr.io/astral-sh/uv:0.13", "ghcr.io/astral-sh/uv", "0.13", None, "ghcr.io", "astral-sh/uv"),
        ("localhost/app", "localhost/app", None, None, "localhost", "app"),
        ("localhost:5000/app:1", "localhost:5000/app", "1", None, "localhost:5000", "app"),
        ("host:5000/a/b", "host:5000/a/b", None, None, "host:5000", "a/b"),
        ("[::1]:5000/app", "[::1]:5000/app", None, None, "[::1]:5000", "app"),
    ],
)
def test_a_reference_is_split_as_docker_splits_it(  # noqa: PLR0913, PLR0917 - one column for each part
    image: str, name: str, tag: str | None, digest: str | None, registry: str, repository: str
) -> None:
    parts = split_image_reference(image)
    assert parts == (name, tag, digest)
    assert parts.split_registry() == (registry, repository)
    assert remove_digest(image) == (f"{name}:{tag}" if tag else name)


@pytest.mark.parametrize(
    "image",
    ["", "Python", "python:", "python@sha256:0", "https://host/app", "a b", "user@host/app", "app:tag:tag", "-app"],
)
def test_other_texts_are_not_references(image: str) -> None:
    assert split_image_reference(image) is None
