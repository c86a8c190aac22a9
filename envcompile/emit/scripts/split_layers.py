"""Split /env into its layers below /layers, as hard links.

A file goes to the layer of the package whose record in conda-meta lists it, byte code to the layer of its source, and
what no record lists to the layer `unowned`.

split_layers.py LIST   the list of packages as for install_conda.py
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

PREFIX, LAYERS = Path("/env"), Path("/layers")
UNOWNED = "unowned"


def read_layers(lines: list[str]) -> dict[str, str]:
    """The layer of each record in conda-meta."""
    words = (line.split(" ") for line in lines if not line.startswith("- "))
    archives = ((source.rpartition("#")[0].rpartition("/")[2], layer) for source, layer in words)
    return {f"conda-meta/{re.sub(r'[.](conda|tar[.]bz2)$', '', name)}.json": layer for name, layer in archives}


def find_owners(records: dict[str, str]) -> dict[str, str]:
    """The layer of each file that a record lists, and of the record itself."""
    owners = dict(records)
    for record, layer in records.items():
        for path in json.loads((PREFIX / record).read_text("utf-8"))["files"]:
            owners.setdefault(path, layer)
    return owners


def find_source(path: PurePosixPath) -> str:
    """The source of byte code: `a/b.py` for `a/__pycache__/b.cpython-312.opt-1.pyc`. Other paths stay."""
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")
    return str(path)


def link(path: PurePosixPath, layer: str) -> None:
    """Link a file, or create an empty folder, in a layer. The folders above it have the modes they have in /env."""
    target = LAYERS / layer / "env"
    target.mkdir(parents=True, exist_ok=True)
    for folder in reversed(path.parents[:-1]):
        copy_folder(folder, target)
    if (PREFIX / path).is_dir() and not (PREFIX / path).is_symlink():
        copy_folder(path, target)
    else:
        os.link(PREFIX / path, target / path, follow_symlinks=False)


def copy_folder(path: PurePosixPath, target: Path) -> None:
    """Create a folder with the mode that it has in /env, unless it exists."""
    if not (target / path).is_dir():
        (target / path).mkdir()
        shutil.copymode(PREFIX / path, target / path)


def main() -> None:
    """Split the environment."""
    lines = Path(sys.argv[1]).read_text("utf-8").splitlines()
    owners = find_owners(read_layers(lines))
    for layer in {*(line.split(" ")[1] for line in lines), UNOWNED}:
        (LAYERS / layer / "env").mkdir(parents=True)
    for folder, folders, files in os.walk(PREFIX):
        place = PurePosixPath(folder).relative_to(PREFIX)
        leaves = [name for name in folders if Path(folder, name).is_symlink()] + files
        if not folders and not files:
            leaves = [""]
        for name in leaves:
            path = place / name
            layer = owners.get(str(path)) or owners.get(find_source(path)) or UNOWNED
            link(path, layer)
    for folder, _, _ in os.walk(LAYERS):
        os.utime(folder, (0, 0))


if __name__ == "__main__":
    main()
