"""Who is asked for an image: nobody, where the spec, the image's name or the lock tell enough."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.base_image.default import BaseImageProperties
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import UnavailableError
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.lock.model import Lock, PlatformLock
from envcompile.resolve.images import BuildContext, resolve_base_images
from envcompile.spec.decode import parse_spec

DIGEST = "sha256:" + "1" * 64
TELLING = BaseImageProperties("debian-12", "2.36", "3.12.9", "/usr/bin/python3")


class Registry:
    """Answers as told and counts; the real client is tested beside a real registry."""

    def __init__(self, facts: BaseImageProperties | None = TELLING) -> None:
        self.asked: list[str] = []
        self._facts = facts

    def resolve_digest(self, reference: str) -> str:
        self.asked.append(reference)
        return DIGEST

    def read_image(self, reference: str, platform: str) -> BaseImageProperties:
        self.asked.append(f"{reference} for {platform}")
        if self._facts is None:
            raise UnavailableError("nobody answers")
        return self._facts


def laid(text: str, registry: Registry, earlier: Lock | None = None, *, upgrade: bool = False) -> BuildContext:
    source = TomlSource("envcompile.toml", f'name = "x"\n{text}')
    (ground,) = resolve_base_images(source, parse_spec(source), earlier, registry, upgrade=upgrade).values()
    return ground


def locked(ground: BuildContext, *, conda: bool = False) -> Lock:
    python = None if conda else ground.python
    platform = PlatformLock("linux-64", python, ground.base, ground.base, ground.tools, ())
    return Lock(DIGEST, DIGEST, (platform,))


PIP = 'python = "3.12"\n[pip]\npackages = ["six"]\n'
CONDA = '[conda]\nchannels = ["c"]\npackages = ["zlib"]\n'


@pytest.mark.parametrize(
    "text",
    [
        PIP,
        CONDA,
        PIP.replace("3.12", "3.12.9"),
        f'{PIP}[image]\nbase = "example.com/x:1"\n',
        f'{PIP}[image]\nbase = "example.com/x@{DIGEST}"\n',
        f'{CONDA}[image]\nbase = "example.com/x@{DIGEST}"\n',
        f'{PIP}[image]\nbase = {{ image = "example.com/x:1", python = "3.12.9" }}\n',
    ],
)
def test_what_was_asked_once_is_not_asked_again(text: str) -> None:
    """A second lock works without any registry; `-U` asks anew."""
    first = Registry()
    ground = laid(text, first)
    assert first.asked
    nobody = Registry(None)
    earlier = locked(ground, conda="conda" in text)
    assert laid(text, nobody, earlier) == ground
    assert nobody.asked == []
    again = Registry()
    assert laid(text, again, earlier, upgrade=True) == ground
    assert again.asked == first.asked


def test_the_digests_of_a_broken_lock_are_kept() -> None:
    """Promise 8: change one package, nothing else moves. A tag that has moved since is not asked for."""
    source = TomlSource("envcompile.toml", f'name = "x"\n{CONDA}')
    there, other = f"debian:bookworm-slim@sha256:{'2' * 64}", f"debian:trixie-slim@sha256:{'3' * 64}"
    for upgrade in (False, True):
        registry = Registry()
        grounds = resolve_base_images(
            source, parse_spec(source), None, registry, upgrade=upgrade, broken=(there, other)
        )
        (ground,) = grounds.values()
        assert (ground.base.image == there) is not upgrade
        assert ("debian:bookworm-slim" in registry.asked) is upgrade


def test_a_lock_of_another_kind_does_not_tell_what_is_needed_now() -> None:
    """A conda environment says nothing of the base's own Python."""
    ground = laid(f'{CONDA}[image]\nbase = "example.com/x:1"\n', Registry())
    registry = Registry()
    text = f'{PIP}[image]\nbase = "example.com/x:1"\n'
    found = laid(text, registry, locked(ground, conda=True))
    assert found.python
    assert (found.python.version, found.python.source) == ("3.12.9", "image")
    assert registry.asked == [f"example.com/x:1@{DIGEST} for linux/amd64"]
    other = dataclasses.replace(found.python, version="3.12.4", source="spec")
    assert laid(text, Registry(), locked(found._replace(python=other))).python == found.python


def test_a_digest_and_a_name_that_tells_ask_nobody() -> None:
    registry = Registry(None)
    ground = laid(f'{PIP}[image]\nbase = "python:3.12-slim-bookworm@{DIGEST}"\n', registry)
    assert registry.asked == []
    assert ground.python
    assert ground.python.source == "assumed"


def test_what_cannot_be_asked_is_an_error_with_a_place() -> None:
    with pytest.raises(UnavailableError, match="nobody answers"):
        laid(PIP, Registry(None))
    with pytest.raises(DiagnosticsError) as said:
        laid(f'{PIP}[image]\nbase = "example.com/x@{DIGEST}"\n', Registry(None))
    assert said.value.exit_code == 3
    assert said.value.diagnostics[0].rule == "base-unknown"
