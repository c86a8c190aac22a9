"""What two packages have under one name: it is that of the last of them, by their names, wherever they are installed.

An installer that writes many packages at once leaves such a file as it happens.

    overlaps.py within LIST FOLDER   of the packages of this stage: write into FOLDER, in their order, lists of those to
                                     install again one after the other, taken from the requirement list LIST
    overlaps.py between FOLDER       of the packages of several stages, whose environments are in FOLDER: copy files of
                                     the last package into this one, where they are not alike
"""

from __future__ import annotations

import csv
import filecmp
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path, PurePosixPath

ENV = Path("/env")
SITES = {Path(sysconfig.get_path(key)).relative_to(ENV) for key in ("purelib", "platlib")}


def name_of(info: Path) -> str:
    """The normalised name (PEP 503) of an installed package."""
    for line in (info / "METADATA").read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "name":
            return re.sub(r"[-_.]+", "-", value.strip()).lower()
    sys.exit(f"envcompile: {info} says no name")


def owners(env: Path) -> dict[str, dict[str, str]]:
    """For each path in an environment that uv has written: the packages that have it, and the hash that each says."""
    found: dict[str, dict[str, str]] = {}
    for site in SITES:
        for info in sorted((env / site).glob("*.dist-info")):
            installer = info / "INSTALLER"
            if not installer.exists() or installer.read_text("utf-8").strip() != "uv":
                continue
            name = name_of(info)
            with (info / "RECORD").open(newline="", encoding="utf-8") as record:
                for row in csv.reader(record):
                    found.setdefault(os.path.normpath(site / row[0]), {})[name] = row[1]
    return found


def within(requirements: str, folder: str) -> None:
    """Packages of one stage that differ in a file are to be installed again, in the order of their names."""
    again: set[str] = set()
    for path, hashes in sorted(owners(ENV).items()):
        # A package need not say a hash: then it cannot be known, and is installed again.
        if len(hashes) > 1 and (len(set(hashes.values())) > 1 or "" in hashes.values()):
            again.update(hashes)
            print(f"envcompile: {' and '.join(sorted(hashes))} have {path} each: that of {max(hashes)} is taken")
    lines = Path(requirements).read_text("utf-8").splitlines()
    for number, name in enumerate(sorted(again)):
        wanted = [line for line in lines if line.startswith(("--index-url ", f"{name}=="))]
        Path(folder, f"{number:05}").write_text("".join(f"{line}\n" for line in wanted), "utf-8")


def files_below(env: Path) -> set[str]:
    """The paths of all that is no folder."""
    found: set[str] = set()
    for folder, folders, files in os.walk(env):
        below = Path(folder)
        names = files + [name for name in folders if (below / name).is_symlink()]
        found.update(str((below / name).relative_to(env)) for name in names)
    return found


def last(path: str, stages: list[tuple[Path, dict[str, dict[str, str]]]]) -> tuple[str, Path]:
    """Of the stages that have a path, that of the package whose name is the last; byte code goes with its source."""
    cached = re.fullmatch(r"(.*/)__pycache__/([^/]*)\.[^./]*(?:\.opt-[12])?\.pyc", path)
    source = f"{cached[1]}{cached[2]}.py" if cached else path
    named = {max(owned[source]): env for env, owned in stages if source in owned}
    if not named:
        sys.exit(f"envcompile: several stages have {path}, and no package says that it is its own")
    return max(named), named[max(named)]


def between(folder: str) -> None:
    """Files that packages of several stages have, each its own, are copied from the stage of the last package."""
    having: dict[str, list[tuple[Path, dict[str, dict[str, str]]]]] = {}
    for env in sorted(Path(folder).iterdir()):
        owned = owners(env)
        for path in files_below(env):
            having.setdefault(path, []).append((env, owned))
    folders = {str(parent) for path in having for parent in PurePosixPath(path).parents}
    if both := sorted(folders & set(having)):
        sys.exit(f"envcompile: one package has a file {both[0]}, and another has a folder of that name")
    for path, stages in sorted(having.items()):
        if all(filecmp.cmp(stages[0][0] / path, env / path, shallow=False) for env, _ in stages[1:]):
            continue
        name, env = last(path, stages)
        print(f"envcompile: several packages have {path} each: that of {name} is taken")
        (ENV / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(env / path, ENV / path)
        shutil.copymode(env / path, ENV / path)


if __name__ == "__main__":
    if sys.argv[1] == "within":
        within(*sys.argv[2:])
    else:
        between(*sys.argv[2:])
