"""Checks what a spec means: requirements, names, channels, images, exports, duplicates and contradictions.

The checks read the TOML value instead of the `Spec`, so that each diagnostic has the key path of its mistake. `decode`
checks keys and types.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from envcompile.diagnostics.diagnostic import Diagnostic, RequirementError, contains_credentials
from envcompile.project.generated_files import EXPORT_FILES, EXPORTERS
from envcompile.spec.conda import allows_version, parse_match_spec
from envcompile.spec.model import PACKAGE_TABLES
from envcompile.spec.pip import check_indexes, normalize_name, parse_package_name, parse_requirement
from envcompile.spec.solver_inputs import INIT_PACKAGE
from envcompile.spec.values import CONTROL_CHARACTER, display_text, split_image_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.diagnostics.source import KeyPath
    from envcompile.spec.conda import MatchSpec

# A Dockerfile has a build stage, in which `apt.build` is installed, only if the spec sets one of these.
_BUILD_STAGE_KEYS = (("pip", "packages"), ("conda", "packages"), ("python",))

# Arrays that must not have duplicates, and the noun for an item in messages.
_UNIQUE_LISTS = {
    ("platforms",): "the platform",
    ("image", "expose"): "the port",
    ("conda", "channels"): "the channel",
    ("apt", "packages"): "the package",
    ("apt", "build"): "the package",
    ("cuda", "compute"): "the architecture",
    ("lock", "exports"): "the file",
}


_COMMAND_KEYS = (("entrypoint",), ("command",), ("healthcheck", "command"))
# More patch releases than any Python X.Y has had.
_MAX_PYTHON_PATCH = 60


def check_spec(value: dict[str, Any]) -> list[Diagnostic]:
    """Find all mistakes in the meaning of a spec's TOML value. Skips values of wrong types: `decode` reports them."""
    return [
        *_check_python(value),
        *_check_nothing_to_install(value),
        *_check_requirements(value),
        *_check_conda(value),
        *_check_package_names(value, "pip", "exclude"),
        *_check_package_names(value, "pip", "allow-sdist"),
        *_check_package_names(value, "pip", "allow-overlap"),
        *_check_provides(value),
        *_check_excluded(value),
        *check_sdists(_get_value(value, "pip")),
        *check_indexes(_get_value(value, "pip", "extra-indexes")),
        *_check_images(value),
        *_check_commands(value),
        *_check_line_lengths(value),
        *_check_exports(value),
        *(problem for path, noun in _UNIQUE_LISTS.items() for problem in _check_duplicates(value, path, noun)),
    ]


def _check_python(value: dict[str, Any]) -> Iterator[Diagnostic]:
    # Without pip packages, `python` is optional: conda installs a Python if a conda package needs one.
    has_other_packages = any(_get_value(value, table, "packages") for table in PACKAGE_TABLES if table != "pip")
    if "python" not in value and (_get_value(value, "pip", "packages") or not has_other_packages):
        hint = 'add `python = "3.12"` at the top'
        yield Diagnostic("missing-key", "`python` is missing, but pip packages need a Python version", (), hint)


def _get_value(value: dict[str, Any], *path: str) -> Any:
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)  # type: ignore[assignment]
    return value


def _iter_strings(value: dict[str, Any], *path: str) -> Iterator[tuple[KeyPath, str]]:
    array = _get_value(value, *path)
    for index, item in enumerate(array if isinstance(array, list) else ()):
        if isinstance(item, str) and not CONTROL_CHARACTER.search(item):
            yield (*path, index), item


def _check_nothing_to_install(value: dict[str, Any]) -> Iterator[Diagnostic]:
    if value.get("platforms") == []:
        yield Diagnostic("platform", "`platforms` is empty", ("platforms",), 'write `platforms = ["linux-64"]`')
    if all(_get_value(value, table, "packages") in (None, []) for table in PACKAGE_TABLES):
        path: KeyPath = ("pip", "packages") if _get_value(value, "pip", "packages") == [] else ()
        hint = 'add packages, such as `packages = ["numpy"]` in `[pip]`'
        yield Diagnostic("nothing-to-install", "the spec requests no packages", path, hint)
    elif _get_value(value, "apt", "build") and not any(_get_value(value, *path) for path in _BUILD_STAGE_KEYS):
        message = "`apt.build` has no effect: without `python`, pip packages or conda packages, there is no build stage"
        yield Diagnostic(
            "nothing-to-install", message, ("apt", "build"), "remove `build`, or move its packages to `packages`", "key"
        )


def _check_requirements(value: dict[str, Any]) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, str], str] = {}
    for path, text in _iter_strings(value, "pip", "packages"):
        try:
            parsed = parse_requirement(text)
        except RequirementError as refusal:
            yield refusal.make_diagnostic(path)
            continue
        normal, marker = parsed.name, str(parsed.marker)
        if (normal, marker) in seen:
            message = (
                f"`{normal}` is requested twice, as `{display_text(seen[normal, marker])}` and `{display_text(text)}`"
            )
            yield Diagnostic("duplicate", message, path, "combine the two into one requirement")
        seen[normal, marker] = text


def _check_conda(value: dict[str, Any]) -> Iterator[Diagnostic]:
    if _get_value(value, "conda", "packages") and not _get_value(value, "conda", "channels"):
        hint = 'add `channels = ["conda-forge"]`'
        yield Diagnostic("missing-key", "`channels` is missing from `conda`", ("conda",), hint, "key")
    seen: dict[str, str] = {}
    for path, text in _iter_strings(value, "conda", "packages"):
        try:
            parsed = parse_match_spec(text)
        except RequirementError as refusal:
            yield refusal.make_diagnostic(path)
            continue
        if parsed.name in seen:
            message = (
                f"`{parsed.name}` is requested twice, as `{display_text(seen[parsed.name])}` and `{display_text(text)}`"
            )
            yield Diagnostic("duplicate", message, path, "combine the two into one requirement")
        seen[parsed.name] = text
        if parsed.name == "python":
            yield from _check_both_pythons(value.get("python"), parsed, path)
    for path, text in _iter_strings(value, "conda", "channels"):
        if contains_credentials(text):
            hint = "remove them, and store them with `rattler auth login` (for the resolver `rattler`)"
            yield Diagnostic("userinfo", "this channel contains a user name, a password or a token", path, hint)
        elif not re.fullmatch(r"(?:https?://|file:///|\.{0,2}/)?[A-Za-z0-9](?:[A-Za-z0-9._~%+/-]|:(?!//))*", text):
            hint = "write a name such as `conda-forge`, a URL or a path"
            yield Diagnostic("channel", f"`{display_text(text)}` is not a channel", path, hint)


def _check_both_pythons(key: object, requirement: MatchSpec, path: KeyPath) -> Iterator[Diagnostic]:
    """Report that no Python version satisfies both the key `python` and the conda requirement for `python`."""
    if not isinstance(key, str) or not re.fullmatch(r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?t?", key):
        return
    key = key.removesuffix("t")
    versions = [key] if key.count(".") > 1 else [f"{key}.{patch}" for patch in range(_MAX_PYTHON_PATCH)]
    if not any(allows_version(requirement, version) for version in versions):
        text = f"`python {requirement.version}`"
        yield Diagnostic("unsolvable", f"`python` is {key}, but the conda requirement is {text}", ("python",))
        yield Diagnostic(
            "unsolvable", f"no Python {key} satisfies this requirement", path, "change or remove one of the two"
        )


# The longest line that Docker's parser of Dockerfiles reads, in bytes.
_MAX_LINE_BYTES = 65_535
# The bytes that the Dockerfile adds to a value on its line: an instruction, quotes and a line continuation.
_LINE_OVERHEAD = 40


def _check_line_lengths(value: dict[str, Any]) -> Iterator[Diagnostic]:
    """Find values that would make a line of the Dockerfile longer than a builder reads."""
    tables = {key: _get_value(value, "image", key) for key in ("env", "labels")}
    lines: list[tuple[KeyPath, list[str]]] = [
        (("image", key, name), [name, text])
        for key, table in tables.items()
        for name, text in (table.items() if isinstance(table, dict) else ())
        if isinstance(text, str)
    ]
    lines += [(("image", *keys), [text for _, text in _iter_strings(value, "image", *keys)]) for keys in _COMMAND_KEYS]
    for path, texts in lines:
        # A quote, a backslash and a dollar are written with a backslash in front.
        size = sum(len(text.encode(errors="replace")) + len(re.findall(r'["\\$]', text)) + 4 for text in texts)
        if size + _LINE_OVERHEAD > _MAX_LINE_BYTES:
            message = (
                f"the value needs a line of {size:,} bytes in the Dockerfile, and builders read {_MAX_LINE_BYTES:,}"
            )
            hint = "put the text into a file, and read it when the container starts"
            yield Diagnostic("too-long", message, path, hint)


def _check_provides(value: dict[str, Any]) -> Iterator[Diagnostic]:
    table = _get_value(value, "conda", "provides")
    for name in table if isinstance(table, dict) else ():
        yield from _check_package_names(value, "conda", "provides", name)


def _check_package_names(value: dict[str, Any], *keys: str) -> Iterator[Diagnostic]:
    """Find invalid names (PEP 503) and duplicates in the array at `keys`."""
    seen: set[str] = set()
    for path, text in _iter_strings(value, *keys):
        try:
            normal = parse_package_name(text)
        except RequirementError as refusal:
            yield refusal.make_diagnostic(path)
            continue
        if normal in seen:
            yield Diagnostic(
                "duplicate", f"`{normal}` is listed twice in `{display_text(keys[-1])}`", path, "remove one of the two"
            )
        seen.add(normal)


def _check_excluded(value: dict[str, Any]) -> Iterator[Diagnostic]:
    requested: dict[str, str] = {}
    for _, text in _iter_strings(value, "pip", "packages"):
        with suppress(RequirementError):
            requested[parse_requirement(text).name] = text
    for path, text in _iter_strings(value, "pip", "exclude"):
        with suppress(RequirementError):
            name = parse_package_name(text)
            if name in requested:
                message = f"`{display_text(text)}` is excluded, but also requested as `{display_text(requested[name])}`"
                yield Diagnostic("excluded-requirement", message, path, "remove it from `packages` or from `exclude`")
            elif name == INIT_PACKAGE and _get_value(value, "image", "init") is True:
                message = f"`{display_text(text)}` is excluded, but `init` in `[image]` needs it"
                yield Diagnostic("excluded-requirement", message, path, "remove it from `exclude`, or remove `init`")


def _check_images(value: dict[str, Any]) -> Iterator[Diagnostic]:
    base = _get_value(value, "image", "base")
    path: KeyPath = ("image", "base")
    if isinstance(base, dict):
        base, path = base.get("image"), (*path, "image")
    tools = _get_value(value, "tools")
    tool_images = tools.items() if isinstance(tools, dict) else ()
    for where, image in [(path, base), *((("tools", tool), image) for tool, image in tool_images)]:
        if not isinstance(image, str) or CONTROL_CHARACTER.search(image):
            continue
        parts, quoted = split_image_reference(image), f"`{display_text(image)}`"
        hint = "write `name:tag`, or `name:tag@sha256:` and the 64 hexadecimal digits of a digest"
        if "@" in image and "://" not in image and "@sha256:" not in image:
            yield Diagnostic("image-reference", f"{quoted} has no sha256 digest after its `@`", where, hint)
        elif parts is None:
            yield Diagnostic("image-reference", f"{quoted} is not an image reference", where, hint)


def _check_commands(value: dict[str, Any]) -> Iterator[Diagnostic]:
    for keys in _COMMAND_KEYS:
        words = _get_value(value, "image", *keys)
        if isinstance(words, list) and words[:1] in ([], [""]):
            path: KeyPath = ("image", *keys, 0) if words else ("image", *keys)
            yield Diagnostic("command", f"`{keys[-1]}` names no program", path, f"add a program, or remove `{keys[0]}`")


def _check_exports(value: dict[str, Any]) -> Iterator[Diagnostic]:
    """Report exports of packages that the spec does not request, and exports that cannot list the spec's platforms."""
    platforms = _get_value(value, "platforms")
    if not isinstance(platforms, list) or not platforms:
        platforms = ["linux-64"]
    for path, text in _iter_strings(value, "lock", "exports"):
        if text not in EXPORT_FILES:
            continue
        name, platform = EXPORT_FILES[text]
        exporter = EXPORTERS[name]
        kind = exporter.package_kinds[0]
        if not _get_value(value, kind, "packages"):
            message = f"`{text}` lists {kind} packages, but the spec requests none"
            yield Diagnostic("export", message, path, f"remove it, or add `packages` to `[{kind}]`")
        elif platform and platform not in platforms:
            message = f"`{text}` is for `{platform}`, which is not one of the spec's platforms"
            yield Diagnostic("export", message, path, "remove it, or add the platform to `platforms`")
        elif not exporter.supports_several_platforms and not platform and len(platforms) > 1:
            message = f"`{text}` can list only one platform, but the spec has {len(platforms)}"
            names = " and ".join(f"`{exporter.platform_file_name(display_text(str(each)))}`" for each in platforms)
            yield Diagnostic("export", message, path, f"write {names}")


def _check_duplicates(value: dict[str, Any], path: tuple[str, ...], noun: str) -> Iterator[Diagnostic]:
    array = _get_value(value, *path)
    seen: set[str | int] = set()
    for index, item in enumerate(array if isinstance(array, list) else ()):
        if isinstance(item, str) or (type(item) is int and 0 < item < 2**63):
            if item in seen:
                yield Diagnostic(
                    "duplicate",
                    f"{noun} `{display_text(str(item))}` is listed twice",
                    (*path, index),
                    "remove one of the two",
                )
            seen.add(item)


def check_sdists(pip: object) -> Iterator[Diagnostic]:
    """Find contradictions between `allow-sdist`, `metadata` and `resolver` in the value of `[pip]`."""
    table = pip if isinstance(pip, dict) else {}
    names = table.get("allow-sdist")
    allowed = {normalize_name(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    if allowed and table.get("resolver") == "pip-tools":
        message = "`pip-tools` would run the code of sdists, which `envcompile lock` does not allow"
        hint = "remove `resolver`: the default, `uv`, resolves sdists without running their code"
        yield Diagnostic("sdist", message, ("pip", "allow-sdist"), hint, "key")
    metadata = table.get("metadata")
    seen: set[str] = set()
    for name, row in metadata.items() if isinstance(metadata, dict) else ():
        path: KeyPath = ("pip", "metadata", name)
        try:
            normal = parse_package_name(name)
        except RequirementError as refusal:
            if not CONTROL_CHARACTER.search(name):
                yield refusal.make_diagnostic(path, "key")
            continue
        if normal in seen:
            yield Diagnostic(
                "duplicate", f"`metadata` has two tables for `{normal}`", path, "remove one of the two", "key"
            )
        elif normal not in allowed:
            message = f"`metadata` has a table for `{display_text(name)}`, which is not in `allow-sdist`"
            hint = f'add `"{normal}"` to `allow-sdist`, or remove the table'
            yield Diagnostic("sdist", message, path, hint, "key")
        seen.add(normal)
        yield from _check_metadata_table(path, row if isinstance(row, dict) else {})


def _check_metadata_table(path: KeyPath, row: dict[str, Any]) -> Iterator[Diagnostic]:
    for key in ("requires-dist", "build-requires"):
        texts = row.get(key)
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            if isinstance(text, str):
                try:
                    parse_requirement(text)
                except RequirementError as refusal:
                    yield refusal.make_diagnostic((*path, key, index))
    python = row.get("requires-python")
    if isinstance(python, str):
        from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - for sdists only

        with suppress(InvalidSpecifier):
            SpecifierSet(python)
            return
        message = f"`{display_text(python)}` is not a version range"
        yield Diagnostic("requirement", message, (*path, "requires-python"), "write a range such as `>=3.9`")
