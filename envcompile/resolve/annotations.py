"""Who needs whom, as uv and pip-compile write it beside the pins."""

from __future__ import annotations

from packaging.utils import canonicalize_name


def graph(text: str) -> dict[str, set[str]]:
    """Package to what it needs, from lines such as `numpy==2.3.5 # via pandas, -r requirements.in, -c list.txt`."""
    needs: dict[str, set[str]] = {}
    for line in text.splitlines():
        pin, _, via = line.partition("# via")
        if "==" in pin:
            name = canonicalize_name(pin.split("==")[0].split("[")[0].strip())
            for source in via.split(","):
                if (needing := source.strip()) and not needing.startswith("-"):
                    needs.setdefault(canonicalize_name(needing.split("[")[0]), set()).add(name)
    return needs
