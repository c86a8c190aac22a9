"""Patterns of a lock's fields.

Promise 10: no string from the lock appears in a build command; lock files are validated when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envcompile.lock import fields

if TYPE_CHECKING:
    import re

HEX = "0123456789abcdef"
DIGEST = f"sha256:{4 * HEX}"
COMMON = fields._FIELD_PATTERNS

ACCEPTED: list[tuple[re.Pattern[str], list[str]]] = [
    (fields.PIP_NAME_PATTERN, ["a", "0", "ab", "a-b", "ab-cd-ef"]),
    (fields.SPECIFIER_PATTERN, ["<3.14,>=3.10", "!=3.0.*", "===1!2.0+b", "~=1.4"]),
    (fields.PIP_DEPENDENCY_PATTERN, ["a", "a-b >=1", "a[x,y-z]", "a[x] <3,>=1.0rc1"]),
    (fields.MD5_PATTERN, [2 * HEX]),
    (COMMON["version"], ["1", "12", "1!2", "11!22.0rc1+cu118", "2026.1.post1"]),
    (COMMON["file"], ["a.whl", "A-1.0_b+c!d.tar.gz", "a.zip"]),
    (COMMON["sha256"], [4 * HEX]),
    (COMMON["kind"], ["wheel", "sdist"]),
    (
        COMMON["image"],
        [f"a@{DIGEST}", f"a{400 * 'b'}@{DIGEST}", f"h[::1]:5000/A_b/c-d:1.0@{DIGEST}"],
    ),
    (COMMON["path"], ["/a", "/usr/bin/python3.12", "/A_b+c@d-e"]),
    (COMMON["os"], ["debian-12", "a-1", "ubuntu-24.04", "a1-1.22.3"]),
    (COMMON["glibc"], ["2.3", "2.36"]),
    (COMMON["source"], ["spec", "image", "assumed", "conda", "apt", "standalone"]),
    (COMMON["abi"], ["cp313t", "cp39t"]),
    (COMMON["digest"], [DIGEST]),
    (fields.SNAPSHOT_PATTERN, ["2026-11-22T01:02:03Z"]),
    (fields.PYTHON_BUILD_PATTERNS["file"], ["cpython-3.14.9+20261021-x86_64-unknown-linux-gnu-install_only.tar.gz"]),
    (fields.PYTHON_BUILD_PATTERNS["url"], ["https://a.b/c%2Bd_~.tar.gz", "http://[::1]:80/a"]),
    (fields.CHANNEL_PATTERNS["name"], ["a", "conda-forge/label/A_1.0"]),
    (fields.CHANNEL_PATTERNS["url"], ["https://", "http://a", "file:///a b/[c]~%20+:-_.1"]),
    (fields.CONDA_PATTERNS["name"], ["a", "_a", "0", "ruamel.yaml-b_c"]),
    (fields.CONDA_PATTERNS["version"], ["1", "1!2.0_a+B-1"]),
    (fields.CONDA_PATTERNS["build"], ["0", "py312_h1.2+A-b"]),
    (fields.CONDA_PATTERNS["subdir"], ["linux-64", "linux-aarch64", "noarch"]),
    (fields.CONDA_PATTERNS["file"], ["a.conda", "_a.tar.bz2", "a-1!2+b_c.conda"]),
    (fields.MATCH_SPEC_PATTERN, ["a", "_a", "numpy >=2,<3|4.*[build='x',md5=\"y\"]", "c/d::a ~=1.0 (b)"]),
    (fields.APT_PATTERNS["name"], ["ab", "0a", "libstdc++6", "a.b-c"]),
    (fields.APT_PATTERNS["version"], ["1", "1:2", "12:1.0-1~rc1+b1", "0a"]),
    (fields.APT_PATTERNS["architecture"], ["amd64", "arm64", "all"]),
    (fields.RECORDED_INPUT_PATTERNS["key"], ["a", "ab", "pip.extra-indexes", "a.b.c"]),
    (fields.RECORDED_INPUT_PATTERNS["values"], [" ", "a\tb", "ü `$(id)`"]),
    (fields.CATALOGUE_PATTERN, ["2026-11-22 sha256:0123456789ab"]),
    (fields.NUMERIC_VERSION_PATTERN, ["1", "1234", "1.2.3.4", "12.1234"]),
    (fields.RULE_PATTERN, ["a", "a-b.c1"]),
    (fields.SENTENCE_PATTERN, ["", "a `b` ü", 2000 * "a"]),
    (fields.VARIABLE_PATTERNS["name"], ["A", "A_1", "PATHS", "LD_LIBRARY_PATH"]),
    (fields.VARIABLE_PATTERNS["value"], ["", "8.0;9.0+PTX", "/usr/local:a_b,c-d"]),
    (fields.WHEEL_REQUIREMENT_PATTERN, ["a ==1.*", "ab-cd ==11.22.33.*"]),
]
REJECTED: list[tuple[re.Pattern[str], list[str]]] = [
    (fields.PIP_NAME_PATTERN, ["", "-a", "a-", "a--b", "A", "a_b", "a.b"]),
    (fields.SPECIFIER_PATTERN, ["", "3.10", ">=", ">=3.10, <4", ">=3;id", ">=3.10,"]),
    (fields.PIP_DEPENDENCY_PATTERN, ["", "A", "a>=1", "a [x]", "a[]", "a ", "a >=1 <2", "a ; python_version < '3'"]),
    (fields.MD5_PATTERN, [2 * HEX + "0", 2 * HEX[:-1], 2 * HEX.upper()]),
    (COMMON["version"], ["", "!1", "1!", "a1", "1-1", "1 2", "1!a", "1;id"]),
    (
        COMMON["file"],
        ["", ".whl", "-a.whl", "a.whl.txt", "a/b.whl", "a.exe", "awhl", "a.tar", "a.whltar.gz", "../a.whl"],
    ),
    (COMMON["sha256"], [4 * HEX + "0", 4 * HEX[:-1], (4 * HEX).upper()]),
    (COMMON["kind"], ["", "wheels", "bdist"]),
    (
        COMMON["image"],
        [f"@{DIGEST}", f"a{401 * 'b'}@{DIGEST}", f"a b@{DIGEST}", f"a@{DIGEST}0", f"a@{DIGEST[:-1]}", "a:1"],
    ),
    (COMMON["path"], ["", "/", "a", "/a/", "//a", "/a b", "/a;id"]),
    (COMMON["os"], ["", "debian", "debian-", "-12", "debian-12.", "debian-.1", "1-1", "Debian-12"]),
    (COMMON["glibc"], ["2.", "2.360", "3.1", "2a1"]),
    (COMMON["source"], ["", "user"]),
    (COMMON["abi"], ["", "cp313", "cp2t", "abi3"]),
    (COMMON["digest"], ["", DIGEST[:-1], f"{DIGEST}0", DIGEST.upper(), 4 * HEX]),
    (
        fields.SNAPSHOT_PATTERN,
        ["", "2026-11-22T01:02:03", "2026-11-22 01:02:03Z", "12026-11-22T01:02:03Z", "2026-11-22"],
    ),
    (fields.PYTHON_BUILD_PATTERNS["file"], ["", "pypy-3.tar.gz", "cpython-3.tar.zst", "cpython-3/x.tar.gz"]),
    (fields.PYTHON_BUILD_PATTERNS["url"], ["", "https://", "file:///a", "https://a b", "https://u@a", "https://a?b"]),
    (fields.CHANNEL_PATTERNS["name"], ["", "-a", "a b", "a:b", "/a"]),
    (fields.CHANNEL_PATTERNS["url"], ["", "ftp://a", "https:/a", "a", "https://a?b", "https://user@a", "https://a\nb"]),
    (fields.CONDA_PATTERNS["name"], ["", "-a", ".a", "A", "a b"]),
    (fields.CONDA_PATTERNS["version"], ["", "1 2", "1;2"]),
    (fields.CONDA_PATTERNS["build"], ["", "a b", "a!b"]),
    (fields.CONDA_PATTERNS["subdir"], ["", "linux-32", "osx-64", "linux-64linux-aarch64"]),
    (fields.CONDA_PATTERNS["file"], ["", ".conda", "-a.conda", "a.zip", "a", "a.conda.tar.bz2/b", "aconda"]),
    (fields.MATCH_SPEC_PATTERN, ["", " a", "a;b", "a`b", "a$b", "a\\b", "a{b"]),
    (fields.APT_PATTERNS["name"], ["", "a", "Ab", "-b", "+b", "a_b"]),
    (fields.APT_PATTERNS["version"], ["", "a", ":1", "1:", "1:a", "1 2", "1;id"]),
    (fields.APT_PATTERNS["architecture"], ["", "i386", "amd64arm64"]),
    (fields.RECORDED_INPUT_PATTERNS["key"], ["", ".a", "a.", "a..b", "A", "a_b"]),
    (fields.RECORDED_INPUT_PATTERNS["values"], ["", "a\nb", "\x00", "\x1b[0m", "\x7f", "\x9f", "\u2028"]),
    (fields.CATALOGUE_PATTERN, ["", "2026-11-22", "2026-11-22 sha256:0123456789abc", "26-11-22 sha256:0123456789ab"]),
    (fields.NUMERIC_VERSION_PATTERN, ["", "12345", "1.", ".1", "1.2.3.4.5", "1.12345", "1a"]),
    (fields.RULE_PATTERN, ["", "1a", "-a", "A", "a_b"]),
    (fields.SENTENCE_PATTERN, [2001 * "a", "a\nb", "\x00", "\x1f", "\x7f", "\u2029", "\t"]),
    (fields.VARIABLE_PATTERNS["name"], ["PATH", "LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "", "a", "1A", "_A", "A-B"]),
    (fields.VARIABLE_PATTERNS["value"], ["a b", "$(id)", "`id`", "a\n", '"']),
    (
        fields.WHEEL_REQUIREMENT_PATTERN,
        ["", "a==1.*", "a ==.*", "a- ==1.*", "-a ==1.*", "a ==1.", "a ==1.2", "a ==1..*"],
    ),
]


@pytest.mark.parametrize(("pattern", "text"), [(pattern, text) for pattern, texts in ACCEPTED for text in texts])
def test_what_resolvers_write_is_accepted(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.fullmatch(text)


@pytest.mark.parametrize(("pattern", "text"), [(pattern, text) for pattern, texts in REJECTED for text in texts])
def test_other_texts_are_rejected(pattern: re.Pattern[str], text: str) -> None:
    assert not pattern.fullmatch(text)


def test_every_pattern_is_tested() -> None:
    tables = [each for name, each in vars(fields).items() if name.endswith("_PATTERNS")]
    named = [each for name, each in vars(fields).items() if name.endswith("_PATTERN")]
    patterns = {each for table in tables for each in table.values()} | set(named)
    assert patterns == {pattern for pattern, _ in ACCEPTED} == {pattern for pattern, _ in REJECTED}
