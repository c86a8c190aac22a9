"""Base images by digest: when the registry is read, and when the locked packages do not fit the requested CUDA."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.default import BaseImageProperties
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED, UnavailableError
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.lock.model import BaseImage, CondaPackage, Lock, PipPackage, PlatformLock
from envcompile.resolve.base_images import BaseImageInputs, BuildContext, choose_base_images, resolve_base_images
from envcompile.resolve.upgrade import UpgradeRequest
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

    def find_platforms(self, reference: str) -> frozenset[str]:
        raise AssertionError(f"a check of its own, see test_image_platforms.py: {reference}")


def laid(text: str, registry: Registry, earlier: Lock | None = None, *, upgrade: bool = False) -> BuildContext:
    source = TomlSource("envcompile.toml", f'name = "x"\n{text}')
    (context,) = resolve_base_images(
        source, parse_spec(source), earlier, registry, upgrade=UpgradeRequest(upgrade)
    ).values()
    return context


def locked(context: BuildContext, *, conda: bool = False) -> Lock:
    python = None if conda else context.python
    platform = PlatformLock("linux-64", python, context.base, context.base, context.tools, ())
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
    context = laid(text, first)
    assert first.asked
    nobody = Registry(None)
    earlier = locked(context, conda="conda" in text)
    assert laid(text, nobody, earlier) == context
    assert nobody.asked == []
    again = Registry()
    assert laid(text, again, earlier, upgrade=True) == context
    assert again.asked == first.asked


def test_the_digests_of_a_broken_lock_are_kept() -> None:
    """Promise 8: change one package, nothing else moves. A tag that has moved since is not asked for."""
    source = TomlSource("envcompile.toml", f'name = "x"\n{CONDA}')
    there, other = f"debian:bookworm-slim@sha256:{'2' * 64}", f"debian:trixie-slim@sha256:{'3' * 64}"
    for upgrade in (False, True):
        registry = Registry()
        contexts = resolve_base_images(
            source, parse_spec(source), None, registry, upgrade=UpgradeRequest(upgrade), recovered_images=(there, other)
        )
        (context,) = contexts.values()
        assert (context.base.image == there) is not upgrade
        assert ("debian:bookworm-slim" in registry.asked) is upgrade


def test_a_lock_of_another_kind_does_not_tell_what_is_needed_now() -> None:
    """A conda environment says nothing of the base's own Python."""
    context = laid(f'{CONDA}[image]\nbase = "example.com/x:1"\n', Registry())
    registry = Registry()
    text = f'{PIP}[image]\nbase = "example.com/x:1"\n'
    found = laid(text, registry, locked(context, conda=True))
    assert found.python
    assert (found.python.version, found.python.source) == ("3.12.9", "image")
    assert registry.asked == [f"example.com/x:1@{DIGEST} for linux/amd64"]
    other = dataclasses.replace(found.python, version="3.12.4", source="spec")
    assert laid(text, Registry(), locked(found._replace(python=other))).python == found.python


def test_a_digest_and_a_name_that_tells_ask_nobody() -> None:
    registry = Registry(None)
    context = laid(f'{PIP}[image]\nbase = "python:3.12-slim-bookworm@{DIGEST}"\n', registry)
    assert registry.asked == []
    assert context.python
    assert context.python.source == "assumed"


def test_what_cannot_be_asked_is_an_error_with_a_place() -> None:
    with pytest.raises(UnavailableError, match="nobody answers"):
        laid(PIP, Registry(None))
    with pytest.raises(DiagnosticsError) as said:
        laid(f'{PIP}[image]\nbase = "example.com/x@{DIGEST}"\n', Registry(None))
    assert said.value.exit_code == 3
    assert said.value.diagnostics[0].rule == "base-unknown"


def conda(name: str, version: str) -> CondaPackage:
    return CondaPackage(name, version, "0", "c", "linux-64", f"{name}-{version}-0.conda", "0" * 64)


def pip(name: str, version: str) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64)


@pytest.mark.parametrize(
    ("requested", "locked", "message"),
    [
        (None, (conda("cuda-version", "12.9"),), ""),
        ('"12.9"', (conda("cuda-version", "12.9"),), ""),
        ('"12"', (conda("cuda-version", "12.9"),), ""),
        ("false", (conda("numpy", "2"), pip("torch", "2.9.0+cpu")), ""),
        ('"12"', (pip("cupy-cuda12x", "14.0.0"),), ""),
        ('"12.9"', (conda("numpy", "2"),), "requests CUDA 12.9, but no package locked for `linux-64` uses CUDA"),
        (
            '"12.9"',
            (pip("nvidia-cuda-runtime-cu12", "12.8.90"),),
            "requests CUDA 12.9, but the locked packages contain 12.8",
        ),
        (
            '"12.9"',
            (pip("torch", "2.9.0+cu130"),),
            "requests CUDA 12.9, but the locked packages are for another version: CUDA 13",
        ),
        ("false", (conda("cuda-cudart", "12.9.79"),), "excludes CUDA, but locked packages use it: CUDA 12"),
        ("false", (pip("cupy-cuda12x", "14.0.0"),), "excludes CUDA, but locked packages use it: CUDA 12"),
    ],
)
def test_another_cuda_is_an_error(
    requested: str | None, locked: tuple[CondaPackage | PipPackage, ...], message: str
) -> None:
    text = 'name = "x"\npython = "3.12"\n[conda]\nchannels = ["c"]\npackages = ["x"]\n[pip]\npackages = ["y"]\n'
    source = TomlSource("envcompile.toml", text + (f"[cuda]\nversion = {requested}\n" if requested else ""))
    base = BaseImage("debian:bookworm-slim@sha256:" + "0" * 64, "debian-12", "2.36")
    one = tuple(each for each in locked if isinstance(each, PipPackage))
    other = tuple(each for each in locked if isinstance(each, CondaPackage))
    platform = PlatformLock("linux-64", None, base, base, (), one, other)
    inputs = BaseImageInputs(load_default_catalogue(), Anybody(), {}, {}, {}, {})
    if not message:
        (platform,) = choose_base_images(source, parse_spec(source), (platform,), inputs)
        assert platform.base_decision
        return
    with pytest.raises(DiagnosticsError) as raised:
        choose_base_images(source, parse_spec(source), (platform,), inputs)
    (mistake,) = raised.value.diagnostics
    assert (raised.value.exit_code, mistake.path) == (EXIT_FAILED, ("cuda", "version"))
    assert message in mistake.message


class Anybody:
    """A registry in which every tag is there."""

    def resolve_digest(self, reference: str) -> str:
        return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"

    def read_image(self, reference: str, platform: str) -> BaseImageProperties:
        raise AssertionError((reference, platform))

    def find_platforms(self, reference: str) -> frozenset[str]:
        raise AssertionError(reference)
