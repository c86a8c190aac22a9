"""`--repro-check` on archives made here: each kind of difference is named, with the first path that has it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.engine.reproducibility import compare_archives

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Member = tuple[str, bytes, dict[str, Any]]
SAME: list[Member] = [("etc/", b"", {}), ("etc/a", b"a", {}), ("etc/z.pyc", bytes(16) + b"code", {}), ("link", b"", {})]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstd.compress,
    "tar": bytes,
}


def layer(members: list[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content, values in members:
            member = tarfile.TarInfo(path.rstrip("/"))
            member.type = (
                tarfile.DIRTYPE if path.endswith("/") else tarfile.SYMTYPE if path == "link" else tarfile.REGTYPE
            )
            member.size, member.linkname = len(content), "etc/a" if path == "link" else ""
            for key, value in values.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, layers: list[bytes], kind: str = "gzip", platforms: int = 1, **config: Any) -> Path:
    """An OCI archive: the image layout specification's files."""
    blobs: dict[str, bytes] = {}

    def add(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def image(number: int) -> dict[str, Any]:
        steps = [{"created_by": "FROM"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "RUN  it"}]
        text = {"os": "linux", "architecture": ["amd64", "arm64"][number], "history": steps, **config}
        rows = [{**add(PACKERS[kind](each)), "mediaType": f"application/x.{kind}"} for each in layers]
        return add(json.dumps({"config": add(json.dumps(text).encode()), "layers": rows}).encode())

    top = image(0)
    if platforms > 1:
        top = add(json.dumps({"manifests": [image(number) for number in range(platforms)]}).encode())
    blobs["index.json"] = json.dumps({"manifests": [top]}).encode()
    with tarfile.open(path, mode="w") as archive:
        for name, data in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def changed(index: int, content: bytes | None = None, **values: Any) -> list[Member]:
    path, old, _ = SAME[index]
    return [*SAME[:index], (path, old if content is None else content, values), *SAME[index + 1 :]]


@pytest.mark.parametrize(
    ("members", "where", "what"),
    [
        (changed(1, b"b"), "`/etc/a`", "has another content of the same size"),
        (changed(1, b"bb"), "`/etc/a`", "has 1 and 2 bytes"),
        (changed(1, mtime=1), "`/etc/a`", "has another time of change"),
        (changed(1, mode=0o600), "`/etc/a`", "has another mode"),
        (changed(1, uid=5), "`/etc/a`", "has another owner"),
        (changed(1, type=tarfile.SYMTYPE, size=0), "`/etc/a`", "is of another kind"),
        (changed(1, pax_headers={"SCHILY.xattr.user.a": "b"}), "`/etc/a`", "has other extended attributes"),
        (changed(3, linkname="etc/b"), "`/link`", "points elsewhere"),
        (changed(2, bytes(8) + b"time" + bytes(4) + b"code"), "`/etc/z.pyc`", "holds another time of its source"),
        (changed(2, bytes(16) + b"cold"), "`/etc/z.pyc`", "has another content"),
        ([*SAME, ("new", b"", {})], "`/new`", "is in the second build only"),
        (SAME[:3], "`/link`", "is in the first build only"),
        ([*SAME[:1], SAME[2], SAME[1], SAME[3]], "`/etc/a`", "stands at another place in the archive"),
        (changed(0, mtime=1), "`/etc`", "has another time of change"),
        # A file that is made gives its folder a time: the file is what is named.
        ([*changed(0, mtime=1), ("etc/new", b"", {})], "`/etc/new`", "is in the second build only"),
    ],
)
@pytest.mark.parametrize("kind", list(PACKERS))
def test_the_first_path_that_differs_is_named(
    members: list[Member], where: str, what: str, kind: str, tmp_path: Path
) -> None:
    base = layer([("base", b"", {})])
    one = write(tmp_path / "one", [base, layer(SAME)], kind)
    other = write(tmp_path / "other", [base, layer(members)], kind)
    digest, difference = compare_archives(one, other)
    assert digest.startswith("sha256:")
    assert difference is not None
    assert difference.location == where
    assert difference.description == f"{what}, in layer 2 of 2 for linux/amd64, which `RUN it` made"
    assert difference.cause


def test_what_is_equal_is_equal(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, [layer(SAME)]) for name in ("one", "other"))
    assert compare_archives(one, other)[1] is None


def test_differences_outside_of_files(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [layer(SAME)])
    found = compare_archives(one, write(tmp_path / "config", [layer(SAME)], created="now"))[1]
    assert found is not None
    assert found.location == "`created` of the configuration for linux/amd64"
    found = compare_archives(one, write(tmp_path / "more", [layer(SAME), layer(SAME)]))[1]
    assert found is not None
    assert found.description == "has 1 layers once and 2 the other time"
    found = compare_archives(one, write(tmp_path / "packed", [layer(SAME)], "zstd"))[1]
    assert found is not None
    assert found.description == "has other bytes, and the files of all layers are equal"


def test_each_platform_of_an_index_is_compared(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [layer(SAME)], platforms=2)
    found = compare_archives(one, write(tmp_path / "other", [layer(changed(1, b"b"))], platforms=2))[1]
    assert found is not None
    assert "for linux/amd64" in found.description
