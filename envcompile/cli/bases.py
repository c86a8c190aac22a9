"""What a lock says of its bases, told: why these, what goes with them, what is not as it should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcompile.plan.base.codes import diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.lock.model import Decided, Lock, PlatformLock, Row
    from envcompile.spec.model import Spec


def warnings(lock: Lock, spec: Spec) -> list[Diagnostic]:
    """Each warning once, whatever the number of platforms."""
    decided = (each.decided for each in lock.platforms if each.decided)
    return list(dict.fromkeys(diagnostic(warned, spec) for each in decided for warned in each.warnings))


def text(lock: Lock) -> Iterator[str]:
    """Lines for people, platform by platform."""
    for number, platform in enumerate(lock.platforms):
        yield from ([""] if number else [])
        yield f"{platform.platform}"
        yield f"  build on   {platform.build.image}"
        yield f"  run on     {platform.run.image}"
        if platform.decided is None:
            yield "  why        the lock was made by a release that did not say: run `envcompile lock`"
        else:
            yield from _told(platform, platform.decided)


def _told(platform: PlatformLock, decided: Decided) -> Iterator[str]:
    yield f"  system     {platform.run.os}, glibc {platform.run.glibc}"
    yield f"  CUDA       {decided.cuda or 'none'}"
    if decided.driver:
        yield f"  driver     {decided.driver} or newer"
    if decided.image_driver:
        yield f"             {decided.image_driver} or newer to start the run image"
    if decided.compute:
        yield f"  GPUs       compute capability {', '.join(decided.compute)}"
    yield from (f"  variable   {name}={value}" for name, value in decided.env)
    yield from (f"  at build   {name}={value}" for name, value in decided.build_env)
    yield from (f"  apt        {each}" for each in decided.apt)
    yield from (f"  apt build  {each}" for each in decided.apt_build)
    yield from (f"  wheel      {each}" for each in decided.wheels)
    if decided.saving:
        yield f"  saves      about {decided.saving.gigabytes} GB unpacked against {decided.saving.against}"
    yield f"  why        by the facts of {decided.catalogue}:"
    for row in decided.trail:
        yield from _step(row)
    for each in decided.warnings:
        yield f"  warning[{each.rule}]: {each.message}"
        yield f"    = hint: {each.hint}"


def _step(row: Row) -> Iterator[str]:
    because = f" ({', '.join(row.inputs)})" if row.inputs else ""
    yield f"    {row.step}. {row.decision}{because}"
    yield from (f"       not {each.image}: {each.because}" for each in row.rejected)


def document(lock: Lock) -> str:
    """A JSON object: for each platform its images, and the decision as the lock has it (null where it has none)."""
    found = {}
    for platform in lock.platforms:
        decided = platform.decided
        found[platform.platform] = {
            **{stage: base(platform, stage) for stage in ("build", "run")},
            "decided": decided and _decided(decided),
        }
    return json.dumps({"platforms": found}, indent=2, ensure_ascii=False)


def base(platform: PlatformLock, stage: str) -> dict[str, str]:
    """One of the two bases."""
    image = platform.build if stage == "build" else platform.run
    return {"image": image.image, "os": image.os, "glibc": image.glibc}


def _decided(decided: Decided) -> dict[str, object]:
    return {
        "catalogue": decided.catalogue,
        "cuda": decided.cuda,
        "driver": decided.driver,
        "image-driver": decided.image_driver,
        "compute": decided.compute,
        "env": dict(decided.env),
        "build-env": dict(decided.build_env),
        "apt": decided.apt,
        "apt-build": decided.apt_build,
        "wheels": decided.wheels,
        "saving": decided.saving and decided.saving._asdict(),
        "warnings": [each._asdict() for each in decided.warnings],
        "trail": [{**row._asdict(), "rejected": [each._asdict() for each in row.rejected]} for row in decided.trail],
    }
