"""The list of archives that conda, mamba and micromamba install as it stands (CEP 23), for one platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.exports.absent import absent
from envcompile.plan.explicit_list import explicit_lines
from envcompile.spec.exports import OURS

if TYPE_CHECKING:
    from envcompile.lock.exports import Given


def text(given: Given) -> str:
    """The list of the one platform."""
    (platform,) = given.lock.platforms
    urls = {channel.name: channel.url for channel in given.lock.channels}
    lines = explicit_lines(platform.conda, urls)
    head = f"{OURS}; the pins are those of envcompile's own lock."
    # The second line is one that conda and mamba write too, and that rattler reads.
    head_lines = (head, f"# platform: {platform.platform}", *absent(given, "conda"))
    return "".join(f"{line}\n" for line in (*head_lines, *lines))
