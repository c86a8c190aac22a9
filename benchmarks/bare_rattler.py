"""The smallest program that solves with py-rattler. It is compared with `envcompile lock`, and conda-lock calls it.

`python bare_rattler.py CHANNEL OUTPUT SPEC...` writes an explicit list. With `create --channel CHANNEL ...
SPEC...` it prints what `conda create --dry-run --json` does. It also accepts `--version`. conda-lock needs no
more of a conda.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import rattler

SUBDIR: Final = "linux-64"
# The C library of the base that the question names, and what else the two platforms of this file have.
_VIRTUAL = (("__glibc", "2.36", "0"), ("__linux", "0", "0"), ("__unix", "0", "0"), ("__archspec", "1", "x86_64"))


async def solve(channel: str, specs: list[str]) -> list[rattler.RepoDataRecord]:
    """The records of a solution, from one channel."""
    virtual = [
        rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build))
        for name, version, build in _VIRTUAL
    ]
    asked = [rattler.MatchSpec(spec, strict=False) for spec in specs]
    return await rattler.solve([channel], asked, platforms=[SUBDIR, "noarch"], virtual_packages=virtual)


def fetched(record: rattler.RepoDataRecord) -> dict[str, Any]:
    """One package in the form of conda's dry run."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "channel": record.channel,
        "url": str(record.url),
        "fn": record.file_name,
        "md5": record.md5.hex() if record.md5 else "",
        "sha256": record.sha256.hex() if record.sha256 else "",
        "depends": list(record.depends),
        "constrains": [],
        "subdir": record.subdir,
        "timestamp": 0,
    }


def main(words: list[str]) -> None:
    """Solve, and print the result in one of the two forms."""
    if words == ["--version"]:
        sys.stdout.write("conda 24.0.0\n")
    elif words[0] == "create":
        # Behind conda-lock's options stand the channels, the first of them its own with the virtual packages.
        channels = [words[index + 1] for index, word in enumerate(words) if word == "--channel"]
        specs = words[max(index for index, word in enumerate(words) if word == "--channel") + 2 :]
        channel = next(each for each in channels if each.endswith("/conda-forge"))
        actions = [fetched(record) for record in asyncio.run(solve(channel, specs))]
        sys.stdout.write(json.dumps({"success": True, "actions": {"FETCH": actions, "LINK": actions}}))
    else:
        channel, output, *specs = words
        records = asyncio.run(solve(channel, specs))
        lines = [f"{record.url}#{record.sha256.hex() if record.sha256 else ''}" for record in records]
        Path(output).write_text("\n".join(["@EXPLICIT", *lines, ""]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    # As our own resolver's process ends: py-rattler 0.28 can crash where the interpreter is taken apart.
    os._exit(0)
