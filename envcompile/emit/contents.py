"""The contents at the top of the Dockerfile: what the image contains, and where in the file to read it."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import format_count
from envcompile.emit.quoting import quote_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.model import Plan, PlatformTarget

_WIDTH = 116
_LABEL_WIDTH = 10


def format_contents(plan: Plan, body: str) -> str:
    """Return the comment lines above the `body` of a Dockerfile. The line numbers in them count from the first one."""
    lines, height = body.splitlines(), 0
    # The numbers depend on the height of the contents, and the height on how the numbers wrap.
    while len(contents := _format_lines(plan, lines, height)) != height:
        height = len(contents)
    return "".join(f"{line}\n" for line in contents)


def _format_lines(plan: Plan, body: list[str], height: int) -> list[str]:
    # The spec requests root; stages are selected by TARGETARCH; each base image is for one platform.
    rules = {"DL3002": plan.start.user.startswith("0:"), "DL3006": len(plan.targets) > 1, "DL3029": True}
    ignored = ",".join(rule for rule, applies in rules.items() if applies)
    return [
        "# Made by envcompile from a spec and its lock. Do not edit: the tag of the image is this file's sha256.",
        "#",
        *(line for label, text in _iter_entries(plan, body, height) for line in _format_entry(label, text)),
        "#",
        "# The rest installs these packages. It is not needed to know what the image contains.",
        f"# hadolint global ignore={ignored}",
        "",
    ]


def _format_entry(label: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH - _LABEL_WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"#   {'' if number else label:{_LABEL_WIDTH}}{line}" for number, line in enumerate(lines)]


def _iter_entries(plan: Plan, body: list[str], height: int) -> Iterator[tuple[str, str]]:
    """Yield the label and the text of each entry."""
    for number, target in enumerate(plan.targets):
        yield "" if number else "base", f"{target.summary}, {target.docker}"
    gpus = dict.fromkeys(target.gpu for target in plan.targets)
    yield "gpu", " and ".join(gpus)
    conda = [each.removeprefix("package/") for each in plan.conda_layers if each.startswith("package/")]
    pip = [layer.stage.removeprefix("pip-") for layer in plan.layers if not layer.is_shared]
    packages: tuple[tuple[str, str, int, list[str]], ...] = (
        ("conda", "/conda/packages", len(plan.conda_layers), conda),
        ("pip", "/pip/", len(plan.layers), pip),
        ("sdists", "/sdist/", len(plan.sdists), [layer.stage.removeprefix("sdist-") for layer in plan.sdists]),
        ("apt", "/apt/run/list", 1, []),
    )
    for label, path, layer_count, names in packages:
        counts = {_count_packages(target, path) for target in plan.targets}
        if counts == {0}:
            continue
        count = format_count(min(counts), "package") if len(counts) == 1 else f"{min(counts)} to {max(counts)} packages"
        numbers = _find_list(plan, body, path)
        own = f"; each in its own layer: {', '.join(names)}" if names else ""
        where = f"lines {numbers[0] + height}-{numbers[-1] + height}"
        yield label, f"{count} in {format_count(layer_count, 'layer')}, {where}{own}"
    yield "start", _describe_start(plan, body, height)
    yield "pinned", "every image by its digest, every package by its sha256; the build resolves nothing"
    yield (
        "options",
        "--secret id=ca,src=FILE for a proxy's certificates, --build-context bundle=FOLDER without a network",
    )


def _count_packages(target: PlatformTarget, path: str) -> int:
    if path == "/sdist/":
        return sum(file.path.endswith("/sdist") for file in target.files)
    lines = (line for file in target.files if file.path.startswith(path) for line in file.lines)
    return sum(not line.startswith(("--index-url ", "- ")) for line in lines)


def _find_list(plan: Plan, body: list[str], path: str) -> list[int]:
    """Find the numbers of the lines of the body that list the packages, from 1."""
    files = (file for target in plan.targets for file in target.files if file.path.startswith(path))
    # The requirement of a single package is an argument of ENV.
    packages = (line for file in files for line in file.lines if not line.startswith("- "))
    listed = {text for line in packages for text in (line, f"ENV REQUIREMENT={quote_word(line)}")}
    return [number for number, line in enumerate(body, 1) if line in listed]


def _describe_start(plan: Plan, body: list[str], height: int) -> str:
    start = plan.start
    first = (
        next(number for number, line in enumerate(body, 1) if line.startswith("FROM ") and line.endswith(" AS env"))
        + height
    )
    ports = f", {_format_ports(start.expose)}" if start.expose else ""
    command = shlex.join((*start.entrypoint, *start.command))
    return f"{command} as {start.user} in {start.workdir}{ports}, lines {first}-{len(body) + height}"


def _format_ports(ports: tuple[int, ...]) -> str:
    """Return `port 8888` or `ports 6006 and 8888`."""
    *others, last = map(str, ports)
    return f"ports {', '.join(others)} and {last}" if others else f"port {last}"
