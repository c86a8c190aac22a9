"""Reading a lock: every field is checked, and the message names the place of the first wrong one.

Promise 10: lock files are validated when they are read. A lock may come from anybody, with a correct digest.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.model import CondaPackage, PipPackage
from envcompile.lock.reader import decode_lock, parse_package_row
from envcompile.lock.writer import format_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Lock

HEX = 4 * "0123456789abcdef"
IMAGE = f"registry.example.com/base:1@sha256:{HEX}"
WHEEL = {"name": "ninja", "version": "1.0", "kind": "wheel", "file": "ninja-1.0.whl", "sha256": HEX, "index": "default"}
# Every key that a lock may have.
PLATFORM: dict[str, Any] = {
    "python": {"version": "3.12.3", "path": "/usr/bin/python3", "source": "spec"},
    "build": {"image": IMAGE, "os": "debian-12", "glibc": "2.36"},
    "run": {"image": IMAGE, "os": "ubuntu-24.04", "glibc": "2.39"},
    "decided": {
        "catalogue": "2026-11-22 sha256:0123456789ab",
        "cuda": "12.8.2",
        "driver": "525.60",
        "image-driver": "570.1",
        "compute": ["8.0", "9.0"],
        "env": [{"name": "ONE", "value": "1"}],
        "build-env": [{"name": "TWO", "value": ""}],
        "apt": ["python3"],
        "apt-build": ["gcc-12"],
        "wheels": ["nvidia-cublas ==12.*"],
        "saving": {"gigabytes": "9.9", "against": "another image"},
    },
    "warnings": [{"rule": "cuda", "message": "A message.", "hint": "A hint."}],
    "trail": [
        {
            "step": 0,
            "rule": "bundled",
            "inputs": ["an input"],
            "decision": "a decision",
            "rejected": [{"image": "an image", "because": "a reason"}],
            "source": "a source",
        },
    ],
    "tools": [{"name": "uv", "image": IMAGE}],
    "conda": [
        {
            "name": "numpy",
            "version": "2.0",
            "build": "py312_0",
            "channel": "conda-forge",
            "subdir": "linux-64",
            "file": "numpy-2.0-py312_0.conda",
            "sha256": HEX,
            "md5": HEX[:32],
            "size": 10,
            "depends": ["python >=3.12"],
            "provides": ["numpy"],
            "env": [{"name": "ONE", "value": "1", "script": "etc/conda/activate.d/numpy.sh", "when": "unset"}],
            "activate": ["etc/conda/activate.d/other.sh"],
        },
    ],
    "pip": [
        {
            "name": "flash-attn",
            "version": "2.0",
            "kind": "sdist",
            "file": "flash_attn-2.0.tar.gz",
            "sha256": HEX,
            "size": 20,
            "index": "corp",
            "depends": ["numpy", "torch"],
        },
        {**WHEEL, "name": "torch", "size": 0, "unpacked": 7},
    ],
    "pip-build": [{"sdist": "flash-attn", **WHEEL, "size": 30, "unpacked": 8, "depends": ["numpy"]}],
    "apt": [
        {
            "name": "git",
            "version": "1:2.0-1",
            "architecture": "amd64",
            "sha256": HEX,
            "size": 40,
            "unpacked": 9,
            "depends": ["libc6"],
        },
    ],
    "apt-build": [
        {
            "name": "gcc",
            "version": "12",
            "architecture": "all",
            "sha256": HEX,
            "size": 50,
            "unpacked": 6,
            "depends": ["libc6"],
        },
    ],
}
VALUE: dict[str, Any] = {
    "format": 2,
    "layout": 2,
    "spec": {"digest": f"sha256:{HEX}", "text": f"sha256:{HEX[::-1]}"},
    "catalogue": "2026-11-22 sha256:0123456789ab",
    "files": {"Dockerfile": f"sha256:{HEX}", "requirements.txt": f"sha256:{HEX}"},
    "counts": {"platforms": 2, "pip": 4, "pip-build": 2, "conda": 2, "apt": 2, "apt-build": 2},
    "asked": [{"key": "conda.channels", "values": ["https://conda.example.com"]}],
    "snapshot": "2026-11-22T00:00:00Z",
    "channels": [{"name": "conda-forge", "url": "https://conda.example.com/conda-forge"}],
    "private-indexes": ["corp", "team"],
    "platforms": {"linux-64": PLATFORM, "linux-aarch64": copy.deepcopy(PLATFORM)},
}
PLACE = ("platforms", "linux-64")
# Keys without which a lock can be read: early releases did not write all of them, or the value may be absent.
REMOVABLE = {
    *("asked", "channels", "files", "files.Dockerfile", "files.requirements.txt", "private-indexes"),
    *(f"platforms.linux-64.{key}" for key in ("python", "warnings")),
    *(f"platforms.linux-64.decided.{key}" for key in PLATFORM["decided"] if key != "catalogue"),
    *(f"platforms.linux-64.trail.{key}" for key in ("inputs", "rejected", "source")),
    *(f"platforms.linux-64.conda[0].{key}" for key in ("md5", "size", "depends", "provides", "env", "activate")),
    "platforms.linux-64.conda[0].env.when",
    *(
        f"platforms.linux-64.pip[{index}].{key}"
        for index, key in ((0, "size"), (0, "depends"), (1, "size"), (1, "unpacked"))
    ),
    *(f"platforms.linux-64.pip-build[0].{key}" for key in ("size", "unpacked", "depends")),
    *(f"platforms.linux-64.{key}[0].{field}" for key in ("apt", "apt-build") for field in ("unpacked", "depends")),
}

Path = tuple[str | int, ...]


def decode(value: dict[str, Any]) -> Lock:
    return decode_lock(value, "x.lock", "a hint", is_intact=True)


def iter_places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value within a value, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        # The other platform has the same fields.
        if key != "linux-aarch64":
            yield (*path, key), each
            yield from iter_places(each, (*path, key))


PLACES = list(iter_places(VALUE))


def changed(path: Path, *new: Any) -> dict[str, Any]:
    """The value with another one at a path, or without it."""
    value = copy.deepcopy(VALUE)
    *parents, last = path
    table: Any = value
    for key in parents:
        table = table[key]
    if new:
        (table[last],) = new
    else:
        del table[last]
    return value


def format_place(path: Path) -> str:
    """A path as messages show it: an index for packages only."""
    text = ""
    for position, key in enumerate(path):
        if not isinstance(key, int):
            text += f".{key}" if text else key
        elif position == 3 and path[2] in ("pip", "pip-build", "conda", "apt", "apt-build"):
            text += f"[{key}]"
    return text


def error_of(value: dict[str, Any]) -> str:
    with pytest.raises(InvalidInputError) as caught:
        decode(value)
    assert caught.value.hint == "a hint"
    return caught.value.message


def test_a_lock_with_every_key_is_read_and_written_back() -> None:
    assert tomli.loads(format_lock(decode(VALUE))).items() >= VALUE.items()


@pytest.mark.parametrize("path", [path for path, value in PLACES if isinstance(value, str)], ids=format_place)
def test_a_string_is_matched_as_a_whole(path: Path) -> None:
    """A line break would end a line of the Dockerfile."""
    value = next(value for each, value in PLACES if each == path)
    for wrong in (f"{value}\n", f"{value}\nRUN id", f"\n{value}", 7, None, [value], True):
        if wrong is None and format_place(path) in REMOVABLE:
            continue
        message = error_of(changed(path, wrong))
        if path[-1] == "sdist":
            assert message.endswith("`platforms.linux-64.pip-build.sdist` is missing or not the name of a locked sdist")
        else:
            assert message == f"`x.lock` is not a valid lock: `{format_place(path)}` is missing or malformed"


@pytest.mark.parametrize(
    "path", [path for path, value in PLACES if isinstance(value, int) and path[0] != "counts"], ids=format_place
)
def test_a_number_is_a_non_negative_integer(path: Path) -> None:
    decode(changed(path, 0))
    for wrong in (-1, "1", 1.5, True):
        message = f"`x.lock` is not a valid lock: `{format_place(path)}` is missing or not a non-negative integer"
        assert error_of(changed(path, wrong)) == message


@pytest.mark.parametrize("path", [path for path, value in PLACES if isinstance(value, list)], ids=format_place)
def test_an_array_is_not_a_table(path: Path) -> None:
    wrongs: list[object] = [{}, "text", 1]
    for wrong in wrongs:
        assert f"`{format_place(path)}` is missing or not an array" in error_of(changed(path, wrong))


# Of several unknown keys, the message names the first in the order of the alphabet.
UNKNOWN = ["unknown", *(f"unknown-{number}" for number in range(30))]
TABLES = [path for path, value in PLACES if isinstance(value, dict) and path != ("counts",)]


@pytest.mark.parametrize("path", TABLES, ids=format_place)
def test_a_table_is_not_an_array_and_has_no_unknown_key(path: Path) -> None:
    place = format_place(path)
    value = next(value for each, value in PLACES if each == path)
    assert f"`{place}.unknown` is not a known key" in error_of(changed(path, {**value, **dict.fromkeys(UNKNOWN)}))
    wrongs: list[object] = [[], "text", 1]
    for wrong in wrongs:
        message = error_of(changed(path, wrong))
        if path == (*PLACE, "pip-build", 0):
            assert "`platforms.linux-64.pip-build.sdist` is missing or not the name of a locked sdist" in message
        else:
            assert f"`{place}` is missing or not a table" in message


def test_an_unknown_key_of_the_lock() -> None:
    assert error_of({**VALUE, "unknown": 1}) == "`x.lock` is not a valid lock: `x.lock.unknown` is not a known key"


def test_only_optional_keys_may_be_absent() -> None:
    removable = set()
    for path, _ in PLACES:
        if not isinstance(path[-1], int):
            try:
                decode(changed(path))
            except InvalidInputError:
                continue
            removable.add(format_place(path))
    assert removable == REMOVABLE


@pytest.mark.parametrize("key", [key for key in VALUE["counts"] if key != "platforms"])
def test_the_counts_are_those_of_the_packages(key: str) -> None:
    for wrong in (VALUE["counts"][key] + 1, VALUE["counts"][key] - 1):
        assert error_of(changed(("counts", key), wrong)).endswith("`counts` does not match the packages")
    assert error_of(changed(("counts", "platforms"), 3)).endswith("`counts` does not match the packages")
    assert error_of(changed(("counts",))).endswith("`counts` does not match the packages")


@pytest.mark.parametrize("key", ["pip", "conda", "apt", "apt-build"])
def test_packages_are_sorted_and_listed_once(key: str) -> None:
    """One text for one value: promise 4."""
    first = PLATFORM[key][0]
    for names in (("b2", "a2"), ("a2", "a2")):
        rows = [
            {**first, "name": name, **({"kind": "wheel", "file": "a.whl"} if key == "pip" else {})} for name in names
        ]
        value = changed((*PLACE, key), rows)
        del value["platforms"]["linux-64"]["pip-build"]
        message = f"`platforms.linux-64.{key}` is not sorted, or contains a package twice"
        assert error_of(value).endswith(message)


def test_private_indexes_are_sorted_and_listed_once() -> None:
    for names in (["team", "corp"], ["corp", "corp"]):
        message = error_of(changed(("private-indexes",), names))
        assert message.endswith("`private-indexes` is not sorted, or contains a name twice")


def test_build_requirements_belong_to_a_locked_sdist_and_are_wheels() -> None:
    path = (*PLACE, "pip-build")
    row = PLATFORM["pip-build"][0]
    for name in ("torch", "other", 1):
        message = error_of(changed(path, [{**row, "sdist": name}]))
        assert message.endswith("`platforms.linux-64.pip-build.sdist` is missing or not the name of a locked sdist")
    message = error_of(changed(path, [{**row, "kind": "sdist", "file": "ninja-1.0.zip"}]))
    assert message.endswith("`platforms.linux-64.pip-build` contains a file that is not a wheel")
    value = changed(path, [row, {**row, "sdist": "aa"}])
    value["platforms"]["linux-64"]["pip"].insert(0, {**PLATFORM["pip"][0], "name": "aa"})
    assert error_of(value).endswith("`platforms.linux-64.pip-build` is not sorted")
    message = error_of(changed(path, [row, row]))
    assert message.endswith("`platforms.linux-64.pip-build` is not sorted, or contains a package twice")
    assert error_of(changed(path, [])).endswith("`counts` does not match the packages")


def test_the_kind_of_a_file_is_that_of_its_name() -> None:
    for index, kind in ((0, "wheel"), (1, "sdist")):
        message = error_of(changed((*PLACE, "pip", index, "kind"), kind))
        assert message.endswith(f"`platforms.linux-64.pip[{index}].kind` does not match the file")


@pytest.mark.parametrize("key", ["apt", "apt-build"])
def test_debian_packages_need_a_snapshot(key: str) -> None:
    value = changed(("snapshot",))
    for platform in value["platforms"].values():
        for each in {"apt", "apt-build"} - {key}:
            del platform[each]
    assert error_of(value).endswith("`snapshot` is missing")
    for platform in value["platforms"].values():
        del platform[key]
    value["counts"] = {each: count for each, count in VALUE["counts"].items() if not each.startswith("apt")}
    assert decode(value).snapshot is None


def test_a_lock_has_known_platforms_and_at_least_one() -> None:
    assert error_of({**VALUE, "platforms": {}, "counts": {"platforms": 0, "pip": 0}}).endswith("`platforms` is empty")
    assert error_of({**VALUE, "platforms": {"osx-64": PLATFORM}}).endswith("`platforms.osx-64` is not a known key")
    assert [
        each.platform for each in decode({**VALUE, "platforms": dict(reversed(VALUE["platforms"].items()))}).platforms
    ] == [
        "linux-64",
        "linux-aarch64",
    ]


def test_the_decision_is_read_whole_or_not_at_all() -> None:
    value = changed((*PLACE, "decided"))
    del value["catalogue"]
    assert "`platforms.linux-64.decided` is missing or not a table" in error_of(value)
    del value["platforms"]["linux-64"]["warnings"]
    del value["platforms"]["linux-64"]["trail"]
    assert decode(value).platforms[0].base_decision is None
    for key in ("warnings", "trail"):
        value["platforms"]["linux-64"][key] = PLATFORM[key]
        assert "`platforms.linux-64.decided` is missing or not a table" in error_of(value)
        del value["platforms"]["linux-64"][key]


def test_a_warning_of_any_rule_is_a_warning() -> None:
    decision = decode(VALUE).platforms[0].base_decision
    assert decision
    (warning,) = decision.warnings
    assert (warning.severity, warning.rule, warning.message, warning.hint) == (
        "warning",
        "cuda",
        "A message.",
        "A hint.",
    )


def test_absent_optional_values() -> None:
    value = copy.deepcopy(VALUE)
    for path in sorted(path for path in REMOVABLE if not path.startswith("files.") and ".env." not in path):
        *parents, last = path.replace("[", ".").replace("]", "").split(".")
        table: Any = value
        for key in parents:
            table = table[int(key)] if key.isdecimal() else table[0][key] if isinstance(table, list) else table[key]
        (table[0] if isinstance(table, list) else table).pop(last)
    lock = decode(value)
    assert (lock.recorded_inputs, lock.channels, lock.private_indexes) == (None, (), ())
    platform = lock.platforms[0]
    assert platform.python is None
    decision = platform.base_decision
    assert decision
    assert (decision.cuda, decision.driver, decision.image_driver, decision.saving) == (None, None, None, None)
    assert (decision.compute, decision.env, decision.build_env, decision.wheels) == ((), (), (), ())
    assert (decision.apt, decision.apt_build, decision.warnings) == ((), (), ())
    assert (decision.explanation[0].inputs, decision.explanation[0].rejected, decision.explanation[0].source) == (
        (),
        (),
        "",
    )
    (conda,) = platform.conda
    assert (conda.md5, conda.size, conda.depends, conda.provides) == (None, None, (), ())
    assert (conda.env, conda.activate) == ((), ())
    assert [(each.size, each.depends) for each in platform.pip] == [(None, ()), (None, ())]


@pytest.mark.parametrize(
    ("counts", "platforms", "truncated"),
    [
        ({"platforms": 2}, {"linux-64": PLATFORM}, True),
        ({"platforms": 1}, {"linux-64": PLATFORM}, False),
        *(({key: 2}, {"linux-64": {key: [{}]}}, True) for key in ("pip", "pip-build", "conda", "apt", "apt-build")),
        *(({key: 1}, {"linux-64": {key: [{}]}}, False) for key in ("pip", "pip-build", "conda", "apt", "apt-build")),
        ({"pip": 3}, {"linux-64": {"pip": [{}]}, "linux-aarch64": {"pip": [{}]}}, True),
        ({"pip": 2}, {"linux-64": {"pip": [{}]}, "linux-aarch64": {"pip": [{}]}}, False),
        ({"pip": 1}, {"linux-64": {"pip": "text"}, "linux-aarch64": 7}, True),
        ({"pip": 1}, [], True),
        ({"pip": "2"}, {}, False),
        (None, {}, False),
        (["pip"], {}, False),
    ],
)
def test_a_truncated_lock_is_told_from_an_edited_one(counts: object, platforms: object, truncated: bool) -> None:
    value = {"counts": counts, "platforms": platforms}
    with pytest.raises(InvalidInputError) as caught:
        decode_lock(value, "x.lock", "a hint", is_intact=False)
    problem = (
        "is truncated: packages are missing at its end" if truncated else "was edited by hand or by another program"
    )
    assert (caught.value.message, caught.value.hint) == (f"`x.lock` {problem}", "a hint")


def test_a_row_on_its_own_is_a_package_of_pip_or_conda() -> None:
    assert isinstance(parse_package_row(PLATFORM["conda"][0]), CondaPackage)
    assert isinstance(parse_package_row(PLATFORM["pip"][0]), PipPackage)
    for row, place in (
        ({"name": "a"}, "pip.version"),
        ({"name": "a", "build": "0"}, "conda.version"),
        (["build"], "pip"),
    ):
        with pytest.raises(InvalidInputError, match=f"`a row` is not a valid lock: `{place}` is missing"):
            parse_package_row(row)


@pytest.mark.parametrize("key", ["version", "depends", "requires-python"])
def test_a_number_of_5000_digits_is_a_malformed_lock(key: str) -> None:
    """Promise 10: lock files are validated when they are read. Python parses no number of this length."""
    digits = 5000 * "9"
    row: dict[str, Any] = {
        "name": "a",
        "version": "1",
        "file": "a-1-py3-none-any.whl",
        "sha256": 64 * "a",
        "index": "default",
    }
    row |= {"kind": "wheel", key: {"depends": [f"b >={digits}"], "requires-python": f">={digits}"}.get(key, digits)}
    with pytest.raises(InvalidInputError, match="has more than 4,000 characters"):
        parse_package_row(row)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "CONDA_PREFIX", "LC_ALL"]
)
def test_a_conda_package_cannot_set_the_variables_of_the_login_and_the_loader(name: str) -> None:
    message = error_of(changed((*PLACE, "conda", 0, "env", 0, "name"), name))
    assert message.endswith("`platforms.linux-64.conda[0].env.name` is missing or malformed")
