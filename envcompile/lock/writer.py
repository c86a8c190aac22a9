"""Writes a lock: canonical TOML, sorted, one package on a line, with a digest and the number of packages in its header.

There is exactly one text for a `Lock`. The digest covers everything below its own line, with LF line ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.digests import compute_sha256
from envcompile.lock.header import FORMAT_VERSION, HEADER_COMMENT
from envcompile.lock.package_managers import PACKAGE_LISTS, count_by_kind
from envcompile.project.toml_writer import format_toml_header, format_toml_pair, format_toml_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.lock.model import (
        BaseImage,
        BaseImageDecision,
        Lock,
        PlatformLock,
        RejectedImage,
        Step,
    )
    from envcompile.project.toml_writer import TomlTable


def format_lock(lock: Lock) -> str:
    """Return the canonical text of a lock."""
    body = "".join(_format_body(lock))
    return f'{HEADER_COMMENT}format = {FORMAT_VERSION}\ndigest = "{compute_sha256(body.encode())}"\n{body}'


def _format_body(lock: Lock) -> Iterator[str]:
    yield format_toml_pair("layout", lock.layout)
    yield format_toml_pair("spec", {"digest": lock.spec_digest, "text": lock.spec_text_digest})
    if lock.catalogue:
        yield format_toml_pair("catalogue", lock.catalogue)
    if lock.files:
        yield format_toml_pair("files", {each.name: each.digest for each in lock.files})
    yield format_toml_pair("counts", count_by_kind(lock))
    if lock.recorded_inputs is not None:
        yield from format_toml_rows(
            "asked", ({"key": each.key, "values": list(each.values)} for each in lock.recorded_inputs)
        )
    if lock.snapshot:
        yield format_toml_pair("snapshot", lock.snapshot)
    if lock.channels:
        yield from format_toml_rows("channels", ({"name": each.name, "url": each.url} for each in lock.channels))
    if lock.private_indexes:
        yield format_toml_pair("private-indexes", lock.private_indexes)
    for platform in lock.platforms:
        yield from _format_platform(platform)


def _format_platform(platform: PlatformLock) -> Iterator[str]:
    yield "\n"
    yield format_toml_header("platforms", platform.platform)
    if python := platform.python:
        row = {"version": python.version, "path": python.path, "source": python.source, "abi": python.abi or None}
        yield format_toml_pair("python", {**row, **(python.build._asdict() if python.build else {})})
    yield format_toml_pair("build", _table_from_base_image(platform.build))
    yield format_toml_pair("run", _table_from_base_image(platform.run))
    if decision := platform.base_decision:
        yield format_toml_pair("decided", _table_from_decision(decision))
        if decision.warnings:
            yield from format_toml_rows("warnings", map(_row_from_warning, decision.warnings))
        yield from format_toml_rows("trail", map(_row_from_step, decision.explanation))
    yield from format_toml_rows("tools", ({"name": tool.name, "image": tool.image} for tool in platform.tools))
    if platform.layer_threshold:
        yield format_toml_pair("layers", {"threshold": platform.layer_threshold})
    for kind, packages in PACKAGE_LISTS.items():
        rows = list(packages.iter_rows(platform))
        # The array of pip packages is always present.
        if rows or kind == "pip":
            yield from format_toml_rows(kind, rows)


def _table_from_base_image(base: BaseImage) -> TomlTable:
    return {"image": base.image, "os": base.os, "glibc": base.glibc}


def _table_from_decision(decision: BaseImageDecision) -> TomlTable:
    """Return the table of a decision, without the warnings and the explanation, which have rows of their own."""
    return {
        "catalogue": decision.catalogue,
        "cuda": decision.cuda,
        "driver": decision.driver,
        "image-driver": decision.image_driver,
        "compute": decision.compute or None,
        "env": _rows_from_variables(decision.env),
        "build-env": _rows_from_variables(decision.build_env),
        "apt": decision.apt or None,
        "apt-build": decision.apt_build or None,
        "wheels": decision.wheels or None,
        "saving": decision.saving and decision.saving._asdict(),
    }


def _rows_from_variables(env: tuple[tuple[str, str], ...]) -> list[TomlTable] | None:
    return [{"name": name, "value": value} for name, value in env] or None


def _row_from_warning(warning: Diagnostic) -> TomlTable:
    return {"rule": warning.rule, "message": warning.message, "hint": warning.hint}


def _row_from_step(step: Step) -> TomlTable:
    return {
        "step": step.step,
        "rule": step.rule,
        "inputs": step.inputs or None,
        "decision": step.decision,
        "rejected": [_table_from_rejected_image(each) for each in step.rejected] or None,
        "source": step.source or None,
    }


def _table_from_rejected_image(image: RejectedImage) -> TomlTable:
    return {"image": image.image, "because": image.because}
