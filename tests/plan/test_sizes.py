"""The sizes of layers, by hand and as sums, and what a push of a changed lock costs."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.layers import measure, read_specs
from envcompile.lock.model import Lock
from envcompile.lock.package_managers import PACKAGE_LISTS
from envcompile.plan.conda import REMAINDER_LAYER, find_conda_layers
from envcompile.plan.layers import find_layer
from envcompile.plan.planner import make_plan
from envcompile.plan.sizes import (
    ByteSum,
    add_sums,
    compute_sizes,
    describe_platform_size,
    describe_push_costs,
    estimate_push_costs,
    format_bytes,
    format_push_costs,
    parse_byte_count,
    summarize_platform,
)
from envcompile.platforms import PLATFORMS
from tests.kit.project import CASES, parsed

if TYPE_CHECKING:
    from envcompile.plan.sizes import LayerSize, PlatformSize, PushCost

EMPTY = Lock("", "", ())


def sizes_of(name: str, platform: str = "linux-64") -> PlatformSize:
    return next(each for each in compute_sizes(parsed(name)[1]) if each.platform == platform)


def layers_of(size: PlatformSize) -> dict[str, tuple[int, list[str]]]:
    """The label of each layer, its bytes, and the names of its packages."""
    return {each.label: (each.download.known, [one.name for one in each.archives]) for each in size.layers}


def change(lock: Lock, **values: Any) -> Lock:
    """The lock with other values on its first platform."""
    first, *rest = lock.platforms
    return dataclasses.replace(lock, platforms=(dataclasses.replace(first, **values), *rest))


def other_file(package: Any, **values: Any) -> Any:
    return dataclasses.replace(package, sha256="f" * 64, **values)


# By hand: the numbers are those in the lock files.


def test_packages_with_a_layer_of_their_own() -> None:
    size = sizes_of("everything")
    assert layers_of(size) == {
        "pip xgboost": (57_615_456, ["xgboost"]),
        "pip scipy": (35_344_199, ["scipy"]),
        "pip numpy": (15_720_599, ["numpy"]),
    }
    assert [each.is_shared for each in size.layers] == [False, False, False]
    assert size.download == size.image_download == ByteSum(108_680_254)
    assert size.unpacked == ByteSum(0, ("xgboost", "scipy", "numpy"))


def test_the_layers_of_a_conda_environment() -> None:
    size = sizes_of("conda-several")
    found, layers = layers_of(size), [each for each in size.layers if each.is_in_image]
    assert [each.label for each in layers] == [
        *("conda python", "conda small_1", "conda icu", "conda numpy"),
        *("conda tiny_1", "conda tiny_2", "conda tiny_3"),
    ]
    assert found["conda small_1"] == (
        6_626_421 + 5_952_629 + 3_566_806 + 3_182_423 + 2_539_158 + 1_058_775,
        ["libstdcxx", "libopenblas", "tk", "openssl", "libgfortran5", "libgcc"],
    )
    assert found["conda tiny_3"] == (
        348_899 + 118_849 + 96_132 + 67_576 + 63_713,
        ["readline", "tzdata", "zlib", "libffi", "libzlib"],
    )
    assert [each.is_shared for each in layers] == [False, True, False, False, True, True, True]


def test_what_only_the_build_installs_is_not_in_the_image() -> None:
    size = sizes_of("sdist")
    assert layers_of(size) == {
        "sdist docopt": (25_901, ["docopt"]),
        "pip tiny_3": (11_050, ["six"]),
        "build dependency of docopt": (1_039_539, ["setuptools", "packaging", "wheel"]),
    }
    assert [each.is_in_image for each in size.layers] == [True, True, False]
    assert size.image_download == ByteSum(36_951)
    assert size.download == ByteSum(1_076_490)
    assert size.unpacked == ByteSum(0, ("docopt", "six"))


def test_a_debian_package_of_both_stages_is_downloaded_once() -> None:
    size = sizes_of("cuda")
    assert layers_of(size)["apt"] == layers_of(size)["apt (build stage)"] == (1000, ["python3.12"])
    assert size.download == size.image_download == ByteSum(294_090_925)
    assert [(each.label, each.image.partition("@")[0]) for each in size.images] == [
        ("run image", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"),
        ("build image", "ubuntu:24.04"),
        ("image of the tool uv", "ghcr.io/astral-sh/uv:0.12.7"),
    ]


def test_unknown_sizes_are_named_and_not_guessed() -> None:
    size = sizes_of("indexes")
    assert layers_of(size) == {
        "pip numpy": (16_600_000, ["numpy"]),
        "pip small_1": (6_299_353, ["sympy"]),
        "pip index corp": (0, ["acme-models", "acme-net"]),
        "pip index torch-cpu": (0, ["torch"]),
    }
    assert size.download == ByteSum(22_899_353, ("acme-models", "acme-net", "torch"))
    assert str(size.download) == "at least 23 MB"
    assert [str(each.download) for each in size.layers] == ["17 MB", "6.3 MB", "unknown", "unknown"]
    assert sizes_of("standalone").download.unknown == ("python",)


def test_a_standalone_python_of_known_size_counts() -> None:
    _, lock = parsed("standalone")
    python = lock.platforms[0].python
    assert python
    assert python.build
    known = change(lock, python=dataclasses.replace(python, build=python.build._replace(size=30_000_000)))
    (before, after) = (compute_sizes(each)[0] for each in (lock, known))
    assert (after.download.known - before.download.known, after.download.unknown) == (30_000_000, ())
    assert layers_of(after)["standalone Python"] == (30_000_000, ["python"])


# Properties on all fixtures.


@pytest.mark.parametrize("name", CASES)
def test_the_sum_over_layers_is_the_sum_over_packages(name: str) -> None:
    _, lock = parsed(name)
    for size, platform in zip(compute_sizes(lock), lock.platforms, strict=True):
        rows = [(kind, each) for kind, rows in PACKAGE_LISTS.items() for _, each in rows.iter_packages(platform)]
        python = [platform.python.build.sha256] if platform.python and platform.python.build else []
        archives = [each for layer in size.layers for each in layer.archives]
        assert sorted(each.sha256 for each in archives) == sorted([each.sha256 for _, each in rows] + python)
        assert sum(each.download or 0 for each in archives) == sum(each.size or 0 for _, each in rows)
        assert sum(each.download.known for each in size.layers) == sum(each.size or 0 for _, each in rows)
        installed = {each.sha256: each.size for kind, each in rows if kind in {"conda", "pip", "apt"}}
        assert size.image_download.known == sum(each or 0 for each in installed.values())
        assert size.download.known == sum({each.sha256: each.size or 0 for _, each in rows}.values())
        json.dumps(describe_platform_size(size))


@pytest.mark.parametrize("name", [each for each in CASES if not each.startswith("apt")])
def test_the_layers_are_those_of_the_dockerfile(name: str) -> None:
    spec, lock = parsed(name)
    plan = make_plan(spec, lock)
    for size in compute_sizes(lock):
        target = next(each for each in plan.targets if each.arch == PLATFORMS[size.platform].docker_arch)
        files = {each.path: each.lines for each in target.files}
        hashes = [
            [line.partition("sha256:")[2] for line in files[each.requirements] if "==" in line] for each in plan.layers
        ]
        assert groups(size, "pip") == sorted(sorted(each) for each in hashes if each)
        sdists = [files[path][0].split()[1] for path in files if path.startswith("/sdist/") and path.endswith("/sdist")]
        assert groups(size, "sdist") == sorted([each] for each in sdists)
    layers = [each for size in compute_sizes(lock) for each in size.layers if each.kind == "conda"]
    folders = {f"{'shared' if each.is_shared else 'package'}/{each.name}" for each in layers}
    assert folders == {*find_conda_layers(lock)} - {REMAINDER_LAYER}


def groups(size: PlatformSize, kind: str) -> list[list[str]]:
    return sorted(sorted(each.sha256 for each in layer.archives) for layer in size.layers if layer.kind == kind)


def stored(layers: list[LayerSize]) -> ByteSum:
    return add_sums(each.stored for each in layers if each.is_in_image)


@pytest.mark.parametrize("name", CASES)
def test_the_same_lock_pushes_nothing(name: str) -> None:
    _, lock = parsed(name)
    for cost, size in zip(estimate_push_costs(lock, lock), compute_sizes(lock), strict=True):
        assert (cost.push, cost.new_images) == (ByteSum(), ())
        assert cost.unchanged == stored([*size.layers])
    assert format_push_costs(estimate_push_costs(lock, lock)).startswith("nothing to push, ")


@given(st.sampled_from(CASES), st.sampled_from(CASES))
def test_every_layer_is_either_pushed_or_unchanged(before: str, after: str) -> None:
    old, new = parsed(before)[1], parsed(after)[1]
    for cost, size in zip(estimate_push_costs(old, new), compute_sizes(new), strict=True):
        total = stored([*size.layers])
        assert cost.push.known + cost.unchanged.known == total.known
        assert {*cost.push.unknown, *cost.unchanged.unknown} == {*total.unknown}
        assert not {*cost.push.unknown} & {*cost.unchanged.unknown}


@pytest.mark.parametrize("name", CASES)
def test_everything_is_pushed_after_nothing_and_with_another_layout(name: str) -> None:
    _, lock = parsed(name)
    older = dataclasses.replace(lock, layout=lock.layout - 1)
    for empty, layout in zip(estimate_push_costs(EMPTY, lock), estimate_push_costs(older, lock), strict=True):
        assert empty.unchanged == layout.unchanged == ByteSum()
        assert empty.push == layout.push
        assert (len(empty.new_images), layout.new_images) == (1, ())


# What a change costs.


def only(before: Lock, after: Lock) -> PushCost:
    """The cost on the first platform. On others, nothing is pushed."""
    first, *rest = estimate_push_costs(before, after)
    assert all((each.push, each.new_images) == (ByteSum(), ()) for each in rest)
    return first


@pytest.mark.parametrize(
    ("name", "push", "unchanged"),
    [("numpy", 15_720_599, 278_370_326), ("protobuf", 343_223, 293_747_702), ("packaging", 1_027_646, 293_063_279)],
)
def test_a_changed_package_pushes_its_layer_as_a_whole(name: str, push: int, unchanged: int) -> None:
    _, lock = parsed("cuda")
    pip = tuple(other_file(each) if each.name == name else each for each in lock.platforms[0].pip)
    cost = only(lock, change(lock, pip=pip))
    # The Debian package of the image has 1,000 bytes.
    assert (cost.push, cost.unchanged) == (ByteSum(push), ByteSum(unchanged))


def test_a_change_on_one_of_two_platforms() -> None:
    _, lock = parsed("several")
    first = lock.platforms[0]
    after = change(lock, pip=tuple(other_file(each) if each.name == "numpy" else each for each in first.pip))
    numpy = next(each for each in first.pip if each.name == "numpy")
    assert numpy.size
    assert only(lock, after).push == ByteSum(numpy.size)
    costs = estimate_push_costs(lock, after)
    rest = sum(each.download.known for each in compute_sizes(lock)) - numpy.size
    assert format_push_costs(costs) == (
        f"{format_bytes(numpy.size)} to push (linux-64 {format_bytes(numpy.size)}, linux-aarch64 nothing), "
        f"{format_bytes(rest)} unchanged"
    )
    assert describe_push_costs(costs)["linux-aarch64"] == {
        "push": {"known": 0, "unknown": ()},
        "unchanged": costs[1].unchanged._asdict(),
        "new-images": [],
    }


def test_an_added_and_a_removed_platform() -> None:
    _, lock = parsed("several")
    one = dataclasses.replace(lock, platforms=lock.platforms[:1])
    kept, added = estimate_push_costs(one, lock)
    assert (kept.push, added.unchanged) == (ByteSum(), ByteSum())
    assert added.push == compute_sizes(lock)[1].download
    assert [each.push for each in estimate_push_costs(lock, one)] == [ByteSum()]


def test_a_moved_threshold_pushes_what_moves() -> None:
    """From 16 MiB, numpy (15,720,599 bytes) shares a layer, which it has for itself in this lock."""
    _, lock = parsed("cuda")
    cost = only(lock, change(lock, layer_threshold=16))
    assert cost.push == ByteSum()
    assert layers_of(compute_sizes(change(lock, layer_threshold=16))[0])["pip small_1"] == (15_720_599, ["numpy"])
    _, lock = parsed("conda-several")
    platforms = tuple(dataclasses.replace(each, layer_threshold=16) for each in lock.platforms)
    cost = estimate_push_costs(lock, dataclasses.replace(lock, platforms=platforms))[0]
    # numpy joins the six packages in a shared layer. icu is alone in the other one, which is equal to its own layer.
    assert cost.push == ByteSum(8_950_985 + 22_926_212)
    assert cost.unchanged.known > 14_455_340


def test_another_base_image_pushes_itself_and_what_apt_installs() -> None:
    _, lock = parsed("cuda")
    other = dataclasses.replace(lock.platforms[0].run, image="ubuntu:26.04@sha256:" + "1" * 64)
    cost = only(lock, change(lock, run=other))
    assert (cost.push, cost.unchanged, cost.new_images) == (ByteSum(1000), ByteSum(294_089_925), ("ubuntu:26.04",))
    assert format_push_costs([cost]) == (
        "1 kB to push, 294 MB unchanged; of unknown size and not counted: the base image ubuntu:26.04"
    )


@pytest.mark.parametrize(
    ("version", "abi", "pushed"), [("3.12.99", "", False), ("3.13.0", "", True), ("3.12.3", "cp312t", True)]
)
def test_another_python_changes_every_wheel_but_another_patch_release_does_not(
    version: str, abi: str, *, pushed: bool
) -> None:
    _, lock = parsed("everything")
    python = lock.platforms[0].python
    assert python
    cost = only(lock, change(lock, python=dataclasses.replace(python, version=version, abi=abi)))
    assert cost.push.known == (108_680_254 if pushed else 0)


def test_another_python_of_conda_changes_the_layers_with_python_packages() -> None:
    _, lock = parsed("conda-several")
    first = lock.platforms[0]
    conda = tuple(other_file(each, version="3.13.9") if each.name == "python" else each for each in first.conda)
    pushed = {"python", *(each.name for each in first.conda if each.name == "packaging")}
    layers = compute_sizes(lock)[0].layers
    cost = only(lock, change(lock, conda=conda))
    assert cost.push.known == sum(
        layer.download.known for layer in layers if pushed & {each.name for each in layer.archives}
    )
    assert 0 < cost.push.known < sum(layer.download.known for layer in layers)


@pytest.mark.parametrize("what", ["the sdist", "a build requirement", "the build image", "a variable"])
def test_the_size_of_a_wheel_from_an_sdist_is_unknown(what: str) -> None:
    _, lock = parsed("sdist")
    first = lock.platforms[0]
    (row,) = first.pip_build
    docopt, six = first.pip
    values: dict[str, dict[str, Any]] = {
        "the sdist": {"pip": (other_file(docopt), six)},
        "a build requirement": {"pip_build": (dataclasses.replace(row, packages=row.packages[1:]),)},
        "the build image": {"build": dataclasses.replace(first.build, image="x:1@sha256:" + "1" * 64)},
        "a variable": {"pip": (dataclasses.replace(docopt, build_env=(("CC", "gcc"),)), six)},
    }
    cost = only(lock, change(lock, **values[what]))
    assert (cost.push, cost.unchanged) == (ByteSum(0, ("docopt (built from an sdist)",)), ByteSum(11_050))
    assert format_push_costs([cost]) == (
        "unknown to push, 11 kB unchanged; of unknown size and not counted: docopt (built from an sdist)"
    )


def test_many_unknown_sizes_are_counted() -> None:
    _, lock = parsed("indexes")
    assert format_push_costs(estimate_push_costs(EMPTY, lock)) == (
        "at least 46 MB to push (linux-64 at least 23 MB, linux-aarch64 at least 23 MB), nothing unchanged; "
        "of unknown size and not counted: acme-models, acme-net, torch and 1 more"
    )


def test_the_cost_is_that_of_the_benchmark() -> None:
    """The benchmark of the layer plan has an implementation of its own, on sizes alone."""
    _, lock = parsed("everything")
    template = lock.platforms[0].pip[0]
    name, packages = next(iter(read_specs().items()))
    expected = measure({name: packages}, lambda name, size: find_layer(name, size, 8))
    pip = tuple(dataclasses.replace(template, **each._asdict(), sha256=f"{n:064}") for n, each in enumerate(packages))
    before = change(lock, pip=pip)
    pushes = [
        only(before, change(lock, pip=(*pip[:n], other_file(each), *pip[n + 1 :]))).push.known
        for n, each in enumerate(pip)
    ]
    assert sum(pushes) / len(pushes) == pytest.approx(expected.mean_push)
    assert max(pushes) == expected.worst_push
    assert estimate_push_costs(EMPTY, before)[0].push.known == expected.registry
    assert len(compute_sizes(before)[0].layers) == expected.most_layers


# Text.


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (7_149_000, "7.1 MB"),
        (9_949_999, "9.9 MB"),
        (9_950_000, "10 MB"),
        (38_400_000, "38 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (3_140_000_000, "3.1 GB"),
        (12_345_000_000, "12.3 GB"),
    ],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4_000_000_000),
        ("4 GB", 4_000_000_000),
        ("1.5MB", 1_500_000),
        ("0.1GB", 100_000_000),
        ("1MiB", 1_048_576),
        ("1.5GiB", 1_610_612_736),
        ("0MB", 0),
    ],
)
def test_sizes_with_a_unit(text: str, count: int) -> None:
    assert parse_byte_count(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "GB",
        "4gb",
        "4TB",
        "-4GB",
        "+4GB",
        "4,5GB",
        ".5GB",
        "5.GB",
        "4  GB",
        "4GB ",
        "1e3MB",
        "٤GB",
        "9" * 5000 + "GB",
    ],
)
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        parse_byte_count(text)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cuda", "294 MB to download, CUDA 12.6.3 (driver >= 560.28.03), nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"),
        ("apt", "14 MB to download, no CUDA, debian:bookworm-slim"),
        ("indexes", "at least 23 MB to download, no CUDA, python:3.12-slim-bookworm"),
    ],
)
def test_a_platform_in_one_line(name: str, line: str) -> None:
    lock = parsed(name)[1]
    assert summarize_platform(compute_sizes(lock)[0], lock.platforms[0]) == line
