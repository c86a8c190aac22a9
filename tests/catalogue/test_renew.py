"""`python -m catalogue` against a registry and an index on the loopback interface, as a process of its own."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalogue.images import tags
from catalogue.text import dumps
from envcompile.base_image.catalogue import parse_catalogue
from tests.kit.index import Index, Wheel, served
from tests.kit.registry import INDEX, MANIFEST, Server, start

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "envcompile/base_image/data/catalogue.json").read_text("utf-8")
DATA: dict[str, Any] = json.loads(TEXT)
NAME = "nvidia/cuda"
# Kept by people: nothing that a registry or an index says changes them.
BY_HAND = ("format", "about", "compute", "needs", "libraries", "nvcc-wheel", "systems", "sizes", "policy")
LINUX = "manylinux_2_28_x86_64"


@pytest.fixture
def server() -> Iterator[Server]:
    """A registry that has exactly the images that the shipped catalogue knows, for amd64 and arm64."""
    server = Server()
    web = start(server)
    empty = server.document(NAME, "empty", MANIFEST, {"layers": []})
    for tag in tags(DATA):
        server.manifests[NAME, tag] = server.manifests[NAME, empty]
    yield server
    server.stopped.set()
    web.shutdown()
    web.server_close()


def image(server: Server, tags: list[str], env: tuple[str, ...], architectures: tuple[str, ...] = ("amd64",)) -> None:
    """One image under several tags, with these variables, for these architectures."""
    entries = []
    for each in architectures:
        digest = server.image([], env, NAME, each)
        size = len(server.manifests[NAME, digest][1])
        platform = {"os": "linux", "architecture": each}
        entries.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    del server.manifests[NAME, "1"]
    for tag in tags:
        server.document(NAME, tag, INDEX, {"manifests": entries})


class Renewal:
    """Runs the program on a copy of the shipped catalogue."""

    def __init__(self, folder: Path, server: Server | None = None, index: Index | None = None) -> None:
        self.file = folder / "catalogue.json"
        self.file.write_text(TEXT, "utf-8")
        settings = folder / "config" / "envcompile"
        settings.mkdir(parents=True)
        mirror = server.host if server else "127.0.0.1:1"
        (settings / "config.toml").write_text(f'[mirrors]\n"docker.io" = "{mirror}"\n', "utf-8")
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(settings.parent), "DOCKER_CONFIG": str(folder)}
        self.index = index.url() if index else "http://127.0.0.1:1/simple"

    def __call__(self, *words: str) -> tuple[int, list[str], str]:
        """Exit code, what changed, and what is said to people."""
        done = subprocess.run(
            [sys.executable, "-m", "catalogue", str(self.file), "--index", self.index, "--date", "2027-01-02", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines(), done.stderr

    @property
    def data(self) -> dict[str, Any]:
        text = self.file.read_text("utf-8")
        parse_catalogue(text)
        data: dict[str, Any] = json.loads(text)
        assert text == dumps(data)
        return data


def test_the_shipped_one_is_written_as_it_stands() -> None:
    assert dumps(json.loads(TEXT)) == TEXT


def test_what_the_registry_shows_is_no_guess_any_more(tmp_path: Path, server: Server) -> None:
    renew = Renewal(tmp_path, server)
    code, lines, _ = renew("--only", "images", "--most", "0")
    found = renew.data
    rows = len(DATA["images"]["rows"])
    # Digests are those of the stand-ins. No tag is new, and none is gone.
    assert (code, [line for line in lines if not line.startswith("~ digests")]) == (
        0,
        [f"~ {rows} rows of images that the registry shows, and had not shown before"],
    )
    for row, before in zip(found["images"]["rows"], DATA["images"]["rows"], strict=True):
        assert row[:2] == before[:2]
        assert set(row[2]) <= {"h", "-"}
        assert [kind == "-" for kind in row[2]] == [kind == "-" for kind in before[2]]
        assert row[3:6] == before[3:6]
        assert "r" in row[6]
        assert not set(row[6]) & set("sk")
    for table in (*BY_HAND, "runtimes", "bundles", "drivers", "deleted"):
        assert found[table] == DATA[table]
    assert (found["date"], "r" in found["sources"]) == ("2027-01-02", True)
    # The same again: the same bytes, whatever the date.
    text = renew.file.read_text("utf-8")
    code, lines, said = renew("--only", "images", "--most", "0", "--check", "--date", "2028-01-01")
    assert (code, lines, "is current" in said) == (0, [], True)
    assert renew.file.read_text("utf-8") == text


def test_new_images_and_old_ones_that_are_gone(tmp_path: Path, server: Server) -> None:
    kinds = ("base", "runtime", "devel", "cudnn-runtime", "cudnn-devel")
    env = (
        "NV_CUDNN_VERSION=9.30.0.12-1",
        "NV_CUDA_CUDART_VERSION=13.4.99-1",
        "NVIDIA_REQUIRE_CUDA=cuda>=13.4 brand=unknown,driver>=580,driver<581 brand=tesla,driver>=575,driver<576",
    )
    image(server, [f"13.4.5-{kind}-ubuntu26.04" for kind in kinds], env, ("arm64", "amd64"))
    image(server, ["13.4.5-base-ubuntu28.04", "13.4.5-cudnn9-devel-ubuntu24.04", "10.2-base", "latest"], ())
    image(server, ["10.2.89-base-ubuntu18.04", "14.0.0-rc-base-ubuntu26.04"], ())
    for tag in ("12.6.3-cudnn-runtime-ubuntu24.04", *(each for each in tags(DATA) if each.startswith("11.0.3-"))):
        del server.manifests[NAME, tag]
    renew = Renewal(tmp_path, server)
    before = renew.file.read_bytes()
    code, checked, _ = renew("--only", "images", "--most", "1", "--check")
    assert (code, renew.file.read_bytes()) == (1, before)
    code, lines, said = renew("--only", "images", "--most", "1")
    assert (code, lines) == (0, checked)
    assert [line for line in lines if line.startswith("+ ")] == [
        *(f"+ 13.4.5-{kind}-ubuntu26.04" for kind in kinds),
        "+ runtimes: 13.4.99 -> 13.4.5",
        "+ drivers: 13.4.5 -> 575 580",
        "+ deleted: CUDA 11.0.3",
    ]
    gone = [line for line in lines if line.startswith("- ")]
    assert "- 12.6.3-cudnn-runtime-ubuntu24.04" in gone
    assert "- digests: 12.6.3-cudnn-runtime-ubuntu24.04" in gone
    assert len([line for line in gone if line.startswith("- 11.0.3-")]) == len(gone) - 2
    assert "~ CUDA 13.4.2 on ubuntu24.04: status unknown -> superseded" in lines
    assert "by hand: 1 tags left out: `systems` has no `ubuntu28.04`" in said
    assert "`cudnn-words` has `cudnn` for CUDA 13.4.5, and the tags say `cudnn9`" in said
    assert "`deleted` names CUDA 10.2.89, and it is there" in said
    assert "images are still to be looked into: run this again" in said
    found = renew.data
    assert ["13.4.5", "ubuntu26.04", "hhhhh", "amd64 arm64", "", "9.30.0.12", "r"] in found["images"]["rows"]
    assert not [row for row in found["images"]["rows"] if row[0] == "11.0.3"]
    for table in BY_HAND:
        assert found[table] == DATA[table]
    # The flavour is gone, the others of its row are there.
    (row,) = [row for row in found["images"]["rows"] if row[:2] == ["12.6.3", "ubuntu24.04"]]
    assert row[2] == "hhh-h"


def test_what_was_not_looked_into_is_looked_into_next(tmp_path: Path, server: Server) -> None:
    """A hub lets nobody look into more than so many an hour: the rest keeps what is known, and its turn comes."""
    image(server, ["13.4.5-base-ubuntu26.04"], (), ("arm64", "amd64"))
    renew = Renewal(tmp_path, server)
    assert renew("--only", "images", "--most", "0")[0] == 0
    assert ["13.4.5", "ubuntu26.04", "h----", "amd64", "", "", "ar"] in renew.data["images"]["rows"]
    code, lines, _ = renew("--only", "images", "--most", "1")
    assert (code, lines) == (0, ["~ CUDA 13.4.5 on ubuntu26.04: architectures amd64 -> amd64 arm64"])
    assert ["13.4.5", "ubuntu26.04", "h----", "amd64 arm64", "", "", "r"] in renew.data["images"]["rows"]


def test_an_image_that_never_says_its_cudnn_keeps_no_other_waiting(tmp_path: Path, server: Server) -> None:
    image(server, ["13.5.0-cudnn-runtime-ubuntu26.04"], ())
    image(server, ["13.4.5-base-ubuntu26.04"], (), ("arm64", "amd64"))
    renew = Renewal(tmp_path, server)
    _, _, said = renew("--only", "images", "--most", "1")
    assert "by hand: `13.5.0-cudnn-runtime-ubuntu26.04` does not say which cuDNN it has" in said
    _, lines, _ = renew("--only", "images", "--most", "1")
    assert lines == ["~ CUDA 13.4.5 on ubuntu26.04: architectures amd64 -> amd64 arm64"]


def test_a_registry_that_lacks_most_is_not_believed(tmp_path: Path, server: Server) -> None:
    for tag in tags(DATA)[:200]:
        del server.manifests[NAME, tag]
    renew = Renewal(tmp_path, server)
    code, _, said = renew("--only", "images", "--most", "0")
    assert (code, "200 of 1449 known tags are gone" in said) == (1, True)
    assert renew.file.read_text("utf-8") == TEXT
    assert renew("--only", "images", "--most", "0", "--gone")[0] == 0
    assert len(tags(renew.data)) == 1249


def test_nobody_answers(tmp_path: Path) -> None:
    renew = Renewal(tmp_path)
    for only, said in (("images", "127.0.0.1:1` refused"), ("frameworks", "the package index did not answer")):
        code, lines, errors = renew("--only", only)
        assert (code, lines, said in errors) == (3, [], True), errors
    assert renew.file.read_text("utf-8") == TEXT


def frameworks() -> tuple[Wheel, ...]:
    """Releases that pin their runtime, get it by the toolkit, or have a range; and what counts for nothing."""
    runtime, cudnn = "nvidia-cuda-runtime", "nvidia-cudnn"
    on_linux = 'platform_system == "Linux" and platform_machine == "x86_64"'
    return (
        Wheel("torch", "1.13.1", (f"{runtime}-cu11 ==11.7.99",), tag=f"cp311-cp311-{LINUX}"),
        Wheel(
            "torch",
            "2.16.0",
            (f"{runtime}-cu13 ==13.4.49 ; {on_linux}", f"{cudnn}-cu13 ==9.29.0.1 ; {on_linux}"),
            tag=f"cp312-cp312-{LINUX}",
        ),
        Wheel(
            "torch",
            "2.17.0",
            ("cuda-toolkit[cudart,cublas] ==13.5.1 ; sys_platform == 'linux'", f"{cudnn}-cu13 ==9.30"),
            tag=f"cp312-cp312-{LINUX}",
            padding=1_000_000,
        ),
        Wheel("torch", "2.18.0", (f"{cudnn}-cu13 ==9.30",), tag="cp312-cp312-manylinux_2_28_aarch64"),
        Wheel("torch", "2.18.0rc1", (f"{runtime} ==14.0.1", f"{cudnn}-cu14 ==10.1"), tag=f"cp312-cp312-{LINUX}"),
        Wheel(
            "torch", "2.19.0", (f"{runtime} ==14.0.1", f"{cudnn}-cu14 ==10.1"), tag=f"cp312-cp312-{LINUX}", yanked=True
        ),
        Wheel(
            "tensorflow",
            "2.22.0",
            (f"{runtime}-cu12 <13,>=12.5 ; extra == 'and-cuda'", f"{cudnn}-cu12 <10,>=9.3 ; extra == 'and-cuda'"),
            ("and-cuda",),
            tag=f"cp312-cp312-{LINUX}",
        ),
        Wheel("tensorflow", "2.23.0", ("numpy",), tag=f"cp312-cp312-{LINUX}"),
        *(Wheel("nvidia-cuda-runtime-cu12", each, tag=f"py3-none-{LINUX}") for each in ("12.9.79", "12.4.1", "13.1.1")),
        Wheel("nvidia-cuda-runtime-cu12", "12.9.99", tag="py3-none-manylinux_2_17_aarch64"),
        Wheel("nvidia-cudnn-cu12", "9.31.1", tag=f"py3-none-{LINUX}"),
        *(Wheel("nvidia-cuda-runtime", each, tag=f"py3-none-{LINUX}") for each in ("13.5.60", "13.5.61")),
        Wheel(
            "cuda-toolkit",
            "13.5.1",
            ("nvidia-cuda-runtime ==13.5.61.* ; extra == 'x'", "nvidia-cuda-runtime ==13.5.60.* ; extra == 'cudart'"),
            ("cudart", "cublas"),
        ),
    )


@pytest.mark.parametrize("way", ["beside", "ranges", "whole", "html"])
def test_frameworks_out_of_the_metadata_of_their_wheels(tmp_path: Path, way: str) -> None:
    wheels = frameworks()
    with served(Index(wheels, html=way == "html", beside=way in {"beside", "html"}, ranges=way == "ranges")) as index:
        renew = Renewal(tmp_path, index=index)
        code, lines, said = renew("--only", "frameworks")
        sent = index.sent
        assert renew("--only", "frameworks", "--check")[:2] == (0, [])
    assert (code, lines) == (
        0,
        [
            "+ runtimes: 13.5.60 -> 13.5.1",
            "+ bundles: torch 2.16.0 -> 13.4.49, 9.29.0.1",
            "+ bundles: torch 2.17.0 -> 13.5.60, 9.30",
            "+ bundles: tensorflow 2.22.0 -> 12.9.79, 9.31.1",
        ],
    )
    assert "`drivers` has none for CUDA 13.5: add it by hand" in said
    # The wheel of a megabyte is not fetched for its few lines, unless the index can give no part of it.
    assert (sent > 1_000_000) is (way == "whole")
    for table in (*BY_HAND, "images", "digests", "drivers", "deleted"):
        assert renew.data[table] == DATA[table]
    # Rows that this index knows nothing of are where they were.
    assert [row for row in renew.data["bundles"]["rows"] if row in DATA["bundles"]["rows"]] == DATA["bundles"]["rows"]


def test_known_releases_are_read_again_only_when_asked(tmp_path: Path) -> None:
    pin = ("nvidia-cuda-runtime ==13.2.99", "nvidia-cudnn-cu13 ==9.26.1")
    wheels = (
        Wheel("torch", "2.15.0", pin, tag=f"cp312-cp312-{LINUX}"),
        Wheel("tensorflow", "1.0"),
        Wheel("cuda-toolkit", "1.0"),
    )
    with served(Index(wheels, beside=True)) as index:
        renew = Renewal(tmp_path, index=index)
        assert renew("--only", "frameworks")[1] == []
        _, lines, _ = renew("--only", "frameworks", "--again")
    assert lines == ["~ bundles: torch 2.15.0: 13.2.86, 9.26.0.51 -> 13.2.99, 9.26.1"]


def test_a_broken_file_is_told_and_kept(tmp_path: Path) -> None:
    renew = Renewal(tmp_path)
    broken = copy.deepcopy(DATA)
    broken["images"]["rows"][3][1] = "ubuntu99.04"
    renew.file.write_text(dumps(broken), "utf-8")
    code, lines, said = renew()
    assert (code, lines) == (2, [])
    assert "error[catalogue]: the table `systems` has no row for `ubuntu99.04`" in said
    assert renew.file.read_text("utf-8") == dumps(broken)


def test_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    """A sentence with the file's name, and nothing written."""
    plain = (Wheel("tensorflow", "1.0"), Wheel("cuda-toolkit", "1.0"))
    for requires, said in (
        (("nvidia-cudnn ==9.*.1",), "a requirement of `torch-2.16.0-cp312-cp312-"),
        (("nvidia-cuda-runtime >=99", "nvidia-cudnn ==9"), "no wheel for `nvidia-cuda-runtime>=99`"),
        (("cuda-toolkit[cudart] ==13.9.9", "nvidia-cudnn ==9"), "no wheel of `cuda-toolkit` 13.9.9"),
    ):
        folder = tmp_path / said[-5:].strip("`")
        folder.mkdir()
        torch = Wheel("torch", "2.16.0", requires, tag=f"cp312-cp312-{LINUX}")
        with served(Index((*plain, torch, Wheel("nvidia-cuda-runtime", "1.0")), beside=True)) as index:
            renew = Renewal(folder, index=index)
            code, lines, errors = renew("--only", "frameworks")
        assert (code, lines, said in errors) == (3, [], True), errors
        assert renew.file.read_text("utf-8") == TEXT
