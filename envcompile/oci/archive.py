"""Reads OCI archives, as `--output type=oci` writes them: images, layers and their files (OCI image layout 1.1)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from envcompile.diagnostics.errors import UnavailableError
from envcompile.emit.dockerfile import TAG_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME_ANNOTATION = "io.containerd.image.name"
_IMAGE_TAG = re.compile(rf":[0-9a-f]{{{TAG_LENGTH}}}$")
_HEAD_BYTES = 16  # the length of the header of a .pyc file


class LayerEntry(NamedTuple):
    """One member of a layer, with the properties that are visible in a container.

    `kind` is the type in tar, `mtime` is in seconds, and `extra` are the extended attributes. `size`, `sha256`
    and `head` (the first 16 bytes) describe the content of a file.
    """

    path: str
    kind: bytes
    mode: int
    owner: tuple[int, int]
    mtime: float
    link: str
    extra: tuple[tuple[str, str], ...]
    size: int
    sha256: str
    head: bytes


@dataclass(frozen=True, slots=True)
class ArchiveImage:
    """The image of one platform: `layers` are pairs of digest and media type, `config` is its configuration as JSON."""

    platform: str
    digest: str
    layers: tuple[tuple[str, str], ...]
    config: dict[str, Any]

    def list_layer_steps(self) -> tuple[str, ...]:
        """Return the step that created each layer, from the history."""
        history = self.config.get("history", ())
        return tuple(str(each.get("created_by", "")) for each in history if not each.get("empty_layer"))


def is_built_image(path: str) -> bool:
    """Whether a file is an image that `envcompile build` wrote: an archive whose image is named `NAME:HASH`.

    A file of the type `tar` has no names, so it is not recognized.
    """
    try:
        with OciArchive(Path(path)) as archive:
            return any(_IMAGE_TAG.search(name) for name in archive.names)
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError, RecursionError):
        return False


class OciArchive:
    """An archive that is open for reading.

    `digest` is that of the image, or of the index over several platforms; `names` are its names, with their tags.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, mode="r:")  # noqa: SIM115 - open as long as the archive is
        rows = self._read_json("index.json")["manifests"]
        self.digest = str(rows[0]["digest"])
        self.names = tuple(str(row.get("annotations", {}).get(_NAME_ANNOTATION, "")) for row in rows)

    def __enter__(self) -> OciArchive:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def read_images(self) -> tuple[ArchiveImage, ...]:
        """Return the images of all platforms, in the order of the index."""
        top = self._read_json(_find_blob_path(self.digest))
        digests = [each["digest"] for each in top["manifests"]] if "manifests" in top else [self.digest]
        return tuple(self._read_image(str(digest)) for digest in digests)

    def iter_entries(self, digest: str, kind: str) -> Iterator[LayerEntry]:
        """Yield the members of a layer in order.

        Raises `UnavailableError` if this Python cannot read its compression.
        """
        with (
            _open_decompressed(self._open_file(_find_blob_path(digest)), kind) as plain,
            tarfile.open(fileobj=plain, mode="r|") as layer,
        ):
            for member in layer:
                yield _read_entry(layer, member)

    def _read_image(self, digest: str) -> ArchiveImage:
        manifest = self._read_json(_find_blob_path(digest))
        config = self._read_json(_find_blob_path(str(manifest["config"]["digest"])))
        layers = tuple((str(each["digest"]), str(each["mediaType"])) for each in manifest["layers"])
        return ArchiveImage(f"{config.get('os')}/{config.get('architecture')}", digest, layers, config)

    def _read_json(self, name: str) -> dict[str, Any]:
        value = json.load(self._open_file(name))
        if not isinstance(value, dict):
            raise TypeError(name)
        return value

    def _open_file(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(name)
        if file is None:
            raise KeyError(name)
        return file


def _find_blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _open_decompressed(file: IO[bytes], kind: str) -> IO[bytes]:
    if kind.endswith("gzip"):
        return cast("IO[bytes]", gzip.open(file))
    if not kind.endswith("zstd"):
        return file
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - Python 3.14
    except ImportError:
        try:
            from backports import zstd  # noqa: PLC0415 - an extra, for this alone
        except ImportError:
            message = "the builds differ in a layer of zstd, which this Python cannot read"
            hint = "run `pip install 'envcompile[build]'`, or add `--compression gzip`"
            raise UnavailableError(message, hint) from None
    opened: IO[bytes] = zstd.open(file)
    return opened


def _read_entry(layer: tarfile.TarFile, member: tarfile.TarInfo) -> LayerEntry:
    content, head = hashlib.sha256(), b""
    file = layer.extractfile(member) if member.isreg() else None
    while file and (chunk := file.read(1 << 20)):
        head = head or chunk[:_HEAD_BYTES]
        content.update(chunk)
    # These are in other fields of the entry.
    known_keys = {"path", "linkpath", "size", "mtime", "uid", "gid"}
    extra = tuple(sorted((key, str(value)) for key, value in member.pax_headers.items() if key not in known_keys))
    return LayerEntry(
        *(member.name, member.type, member.mode, (member.uid, member.gid), member.mtime, member.linkname, extra),
        *(member.size, content.hexdigest(), head),
    )
