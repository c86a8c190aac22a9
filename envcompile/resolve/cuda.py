"""Whether what was answered uses the CUDA that the spec asks for: a solver that finds none falls back in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics import Diagnostic, Problems
from envcompile.errors import NOT_FINE
from envcompile.plan.cuda import releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envcompile.lock.model import PlatformLock
    from envcompile.source import Source


def check_cuda(source: Source, asked: str | bool | None, platforms: Iterable[PlatformLock]) -> None:
    """Raises `Problems` at `cuda.version` where a platform has another CUDA than `asked`, none, or one all the same."""
    if asked is None:
        return
    found = [each for platform in platforms for each in _wrong(asked, platform)]
    if found:
        raise Problems(source, found, NOT_FINE)


def _wrong(asked: str | bool, platform: PlatformLock) -> Iterator[Diagnostic]:
    path = ("cuda", "version")
    said = releases(platform.conda, platform.pip)
    where = f"what is locked for `{platform.platform}`"
    if asked is False:
        for name, release in said.items():
            message = f"`cuda.version` keeps CUDA out, and {where} holds `{name}` for CUDA {release}"
            yield Diagnostic("cuda-conflict", message, path, "ask for a build without it: `pytorch * cpu*`")
    elif not said:
        message = f"`cuda.version` asks for {asked}, and nothing of {where} uses CUDA"
        hint = "ask for a build that does: `pytorch * cuda*`; or take `version` out of `[cuda]`"
        yield Diagnostic("cuda-conflict", message, path, hint)
    else:
        # A driver runs every release of a major version; another major version needs another driver.
        for name, release in said.items():
            if release.partition(".")[0] != str(asked).partition(".")[0]:
                message = f"`cuda.version` asks for {asked}, and {where} holds `{name}` for CUDA {release}"
                yield Diagnostic("cuda-conflict", message, path, f"ask for a release of it that is for CUDA {asked}")
