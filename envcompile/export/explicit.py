"""The list of archives that conda, mamba and micromamba install as it stands (CEP 23), for one platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import omitted_packages_comment
from envcompile.plan.conda import format_explicit_list
from envcompile.project.generated_files import EXPORT_HEADER

if TYPE_CHECKING:
    from envcompile.export import ExportInput


def render_export(given: ExportInput) -> str:
    """The list of the one platform."""
    (platform,) = given.lock.platforms
    urls = {channel.name: channel.url for channel in given.lock.channels}
    lines = format_explicit_list(platform.conda, urls)
    head = f"{EXPORT_HEADER}; the pins are those of envcompile's own lock."
    # The second line is one that conda and mamba write too, and that rattler reads.
    head_lines = (head, f"# platform: {platform.platform}", *omitted_packages_comment(given, "conda"))
    return "".join(f"{line}\n" for line in (*head_lines, *lines))
