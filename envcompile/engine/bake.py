"""A bake file: one or many builds as JSON, for `docker buildx bake`. Its format: buildx's bake reference."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from envcompile.engine.buildx import exporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcompile.engine.buildx import Build

# What HCL reads as the start of a template, and the signs before it that would be read as its escape.
_TEMPLATE = re.compile(r"[$%]+(?=\{)")


def bake(targets: Mapping[str, tuple[Build, str]], compression: str, cache: str | None = None) -> str:
    """The text of a bake file. `targets` by name: a build, and its Dockerfile; the group `default` is all of them.

    `cache` is a repository that keeps a cache for each target, under a tag that is its name.
    """
    group = {"default": {"targets": list(targets)}}
    rows = {name: _target(name, build, text, compression, cache) for name, (build, text) in targets.items()}
    return json.dumps(_escaped({"group": group, "target": rows}), indent=2, ensure_ascii=False) + "\n"


def _target(name: str, build: Build, dockerfile: str, compression: str, cache: str | None) -> dict[str, Any]:
    """The same as `buildx.words` says. The context is not read: nothing in the Dockerfile copies from it."""
    target: dict[str, Any] = {
        "dockerfile-inline": dockerfile,
        "args": {"SOURCE_DATE_EPOCH": "0"},
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
        "platforms": list(build.platforms),
        "tags": list(build.tags),
        "output": [build.output],
    }
    if build.contexts:
        target["contexts"] = dict(build.contexts)
    if build.secrets:
        target["secret"] = list(build.secrets)
    if cache:
        # Layers are kept as the image has them: from a cache with another compression comes another digest.
        kept = exporter("registry", compression)
        target["cache-from"] = [f"type=registry,ref={cache}:{name}"]
        target["cache-to"] = [f"{kept},ref={cache}:{name},mode=max"]
    return target


def _escaped(value: Any) -> Any:
    """Every string of a bake file is an HCL template; a sign in a quoted string inside of one is only a sign."""
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return _TEMPLATE.sub(lambda found: f'${{"{found[0]}"}}', value)
