"""`explicit.txt`: the conda packages of one platform as an `@EXPLICIT` list (CEP 23).

conda, mamba and micromamba install the list without a solver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import PINS_HEADER, format_omitted_packages
from envcompile.plan.conda import format_explicit_list

if TYPE_CHECKING:
    from envcompile.export import ExportInput


def render_export(export_input: ExportInput) -> str:
    """The text of the file, for a lock with one platform."""
    lock = export_input.lock
    (platform,) = lock.platforms
    urls = {channel.name: channel.url for channel in lock.channels}
    # conda and mamba write a `# platform:` comment too, and rattler reads it.
    comments = (PINS_HEADER, f"# platform: {platform.platform}", *format_omitted_packages(lock, "conda"))
    return "".join(f"{line}\n" for line in (*comments, *format_explicit_list(platform.conda, urls)))
