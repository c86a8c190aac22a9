"""Activation scripts are evaluated without bash, and bash agrees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.lock.activation import merge_variables
from envcompile.lock.activation_effects import PackageFiles, find_script_effects
from envcompile.lock.model import CondaPackage

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.lock.activation_effects import ScriptEffects

FILES = {
    "bin/tool": "hardlink",
    "lib/engine/plugins/one.so": "hardlink",
    "lib/link": "softlink",
    "share/geo/table.csv": "hardlink",
    "share/empty": "directory",
    "site-packages/geo/__init__.py": "hardlink",
}
SCRIPT = "etc/conda/activate.d/x.sh"


def effects(text: str, prefix: str = "/env", script: str = SCRIPT) -> ScriptEffects:
    return find_script_effects(script, text, prefix, PackageFiles(FILES, prefix).test)


def variables(text: str) -> dict[str, str]:
    return {each.name: each.value + ("?" if each.is_default else "") for each in effects(text).variables}


GEO = """\
#!/bin/sh
# Keep what another installation has set.
if [[ -n "$GEO_DATA" ]]; then
    export _CONDA_SET_GEO_DATA=$GEO_DATA
fi

if [ -d $CONDA_PREFIX/share/geo ]; then
    export GEO_DATA=$CONDA_PREFIX/share/geo
elif [ -d $CONDA_PREFIX/Library/share/geo ]; then
    export GEO_DATA=$CONDA_PREFIX/Library/share/geo
fi
export GEO_ENCODING=UTF-8
"""
PLUGINS = """\
if [ -d "${CONDA_PREFIX}/lib/geoplugins" ]; then
    export GEO_PLUGINS="${CONDA_PREFIX}/lib/geoplugins"
elif [ -d "${CONDA_PREFIX}/Library/lib/geoplugins" ]; then
    export GEO_PLUGINS="${CONDA_PREFIX}/Library/lib/geoplugins"
fi
if [[ ! -d "$GEO_PLUGINS" ]]; then
    unset GEO_PLUGINS
fi
"""
JAVA = """\
export JAVA_HOME_CONDA_BACKUP="${JAVA_HOME:-}"
export JAVA_HOME="${CONDA_PREFIX}/lib/engine"
export JAVA_LD_LIBRARY_PATH="${JAVA_HOME}/lib/server"
"""
CATALOG = """\
if test -n "${XML_CATALOGS:-}"; then
    saved_catalogs="${XML_CATALOGS}"
    XML_CATALOGS="${XML_CATALOGS} "
else
    saved_catalogs=""
    XML_CATALOGS=""
fi
export XML_CATALOGS="${XML_CATALOGS}file://${CONDA_PREFIX}/etc/xml/catalog"
unset saved_catalogs
"""
NVCC = """\
if [[ ! -z "${NVCC_HOME+x}" ]]
then
  export NVCC_HOME_BACKUP="${NVCC_HOME:-}"
fi
[[ "linux-64" == "linux-64" ]] && targets="targets/x86_64-linux"
[[ "linux-64" == "linux-aarch64" ]] && targets="targets/sbsa-linux"
export NVCC_HOME="${CONDA_PREFIX}/${targets}"
"""
COMPILER = """\
function _activate() {
  local thing=$1
  eval "export ${thing}=gcc"
}
_activate CC
export CXX=g++
"""


@pytest.mark.parametrize(
    ("text", "expected", "is_static"),
    [
        ("", {}, True),
        ("# only a comment \\\nexport A=1", {"A": "1"}, True),
        (GEO, {"GEO_DATA": "/env/share/geo", "GEO_ENCODING": "UTF-8"}, True),
        (GEO + PLUGINS, {"GEO_DATA": "/env/share/geo", "GEO_ENCODING": "UTF-8"}, False),
        (JAVA, {"JAVA_HOME": "/env/lib/engine", "JAVA_LD_LIBRARY_PATH": "/env/lib/engine/lib/server"}, True),
        (CATALOG, {}, False),
        (NVCC, {"NVCC_HOME": "/env/targets/x86_64-linux"}, True),
        (COMPILER, {}, False),
        ('if [ -z "${A:-}" ]; then export A=1; fi', {"A": "1?"}, True),
        ('if [ -z "$A" ]; then\n export A=1\nelse\n export B=1\nfi', {"A": "1?"}, False),
        ("export CARGO_HOME=${CARGO_HOME:-$CONDA_PREFIX/.cargo}", {"CARGO_HOME": "/env/.cargo?"}, True),
        ("export A=${A-1}", {"A": "1?"}, True),
        ("export A=${A+1}", {}, False),
        ("export A=$B", {}, True),
        ("export A=$B/x", {}, False),
        ("export PATH=$CONDA_PREFIX/x:$PATH B=1", {"B": "1"}, False),
        ("export LD_LIBRARY_PATH=/env/lib", {}, False),
        ("export LD_PRELOAD=/env/lib/x.so", {}, False),
        ("export HOME=/env", {}, False),
        ("IFS=:", {}, False),
        ("A=1", {}, True),
        ("A=1\nexport A", {"A": "1"}, True),
        ("export A", {}, False),
        ("export A=", {}, True),
        ("export A=1; unset A", {}, True),
        ("export A=1 && false || export A=2", {"A": "2"}, True),
        ("export A=1;; export B=1", {}, False),
        ('export A=\'one two\' B="\\"$CONDA_PREFIX\\"" C=a\\ b', {"A": "one two", "B": '"/env"', "C": "a b"}, True),
        ("export A=\"one\\\ntwo\" B='one\\two'", {"A": "onetwo", "B": "one\\two"}, True),
        ("export A='one\ntwo'", {}, False),
        ("export A=~/x", {}, False),
        ("export A=$(pwd)", {}, False),
        ("export A=`pwd`", {}, False),
        ("export A=$((1))", {}, False),
        ("export A=(1 2)", {}, False),
        ("export A+=1", {}, False),
        ("export A=1 &", {}, False),
        ("export A=1 > /dev/null", {}, False),
        ("mkdir -p /tmp/x\nexport A=1", {}, False),
        ("for x in 1 2; do export A=$x; done", {}, False),
        ("export A=1\r\n", {}, False),
        ("if [ -f $CONDA_PREFIX/bin/tool ]; then export A=1; fi", {"A": "1"}, True),
        ("if [ -d $CONDA_PREFIX/bin/tool ]; then export A=1; fi", {}, True),
        ("if [ -e $CONDA_PREFIX/lib/link ]; then export A=1; fi", {}, False),
        ("if [ -d $CONDA_PREFIX/site-packages/geo ]; then export A=1; fi", {}, False),
        ("if [ -d $CONDA_PREFIX/share/../bin ]; then export A=1; fi", {}, False),
        ("if [ -d /usr/share ]; then export A=1; fi", {}, False),
        ("[ -n $UNQUOTED ] && export A=1", {}, False),
        ("x='a b'; [ -n $x ] && export A=1", {}, False),
        ("[[ $CONDA_PREFIX == /e* ]] && export A=1", {}, False),
        ("[[ -n $CONDA_PREFIX && ! -z a || a != b ]] && export A=1", {"A": "1"}, True),
        ("CONDA_PREFIX=/x; export A=$CONDA_PREFIX", {}, False),
        ('if [ -n "$A" ]; then A=1; fi', {}, False),
        ("export A=$RANDOM", {}, False),
        ("set -e\nexport A=1", {}, False),
    ],
)
def test_what_a_script_sets(text: str, expected: dict[str, str], is_static: bool) -> None:
    assert (variables(text), effects(text).is_static) == (expected, is_static)


def test_a_script_that_branches_too_often_is_not_evaluated() -> None:
    text = "".join(f'if [ -n "$V{number}" ]; then export W{number}=$V{number}; fi\n' for number in range(12))
    assert effects(f"export A=1\n{text}") == ((), False)
    deep = "if true; then\n" * 200 + "export A=1\n" + "fi\n" * 200
    assert effects(deep) == ((), False)


# bash


BASH = shutil.which("bash") or "bash"
NAMES = ("A_ONE", "B_TWO", "C_THREE")
OUTER = ("D_FOUR", "E_FIVE")
names = st.sampled_from(NAMES)
read_names = st.sampled_from((*NAMES, *OUTER, "CONDA_PREFIX"))
literals = st.sampled_from(["x", "one two", "", "a:b/c", "*", "it's", '"', "$", "\\", "-n", "!", "=", "~", "ü"])
paths = st.sampled_from(["bin/tool", "share", "share/empty", "lib/link", "nothing", "share//geo/", "bin/tool/", ""])


@st.composite
def words(draw: st.DrawFn, depth: int = 0) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.integers(0, 5))
        name = draw(read_names)
        if kind == 0:
            parts.append("'" + draw(literals).replace("'", "") + "'")
        elif kind == 1:
            text = draw(literals)
            parts.append('"' + "".join(f"\\{each}" if each in '"\\$`' else each for each in text) + '"')
        elif kind == 2:
            parts.append(draw(st.sampled_from(["x", "a:b", "=", "a\\ b", "\\*", "a\\\nb", ","])))
        elif kind == 3:
            parts.append(draw(st.sampled_from([f"${{{name}}}", f'"${name}"', f'"x${{{name}}}"'])))
        else:
            operator = draw(st.sampled_from([":-", "-", ":+", "+"]))
            if depth or draw(st.booleans()):
                parts.append(
                    f'"${{{name}{operator}{draw(st.sampled_from(["x", "a b", "", f"${draw(read_names)}"]))}}}"'
                )
            else:
                parts.append(f"${{{name}{operator}{draw(words(1))}}}")
    return "".join(parts)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> str:  # noqa: PLR0911 - one per kind
    kind = draw(st.integers(0, 6))
    word, other = draw(words()), draw(words())
    negation = draw(st.sampled_from(["", "! "]))
    if kind == 0:
        return f'{negation}[ {draw(st.sampled_from(["-n", "-z"]))} "${draw(read_names)}" ]'
    if kind == 1:
        return f"[[ {negation}{draw(st.sampled_from(['-n', '-z', '']))} {word} ]]"
    if kind == 2:
        return f"[ {negation}{word} {draw(st.sampled_from(['=', '==', '!=']))} {other} ]"
    if kind == 3:
        return f"[[ {word} {draw(st.sampled_from(['=', '==', '!=']))} {other} ]]"
    if kind == 4:
        return f"test {negation}{draw(st.sampled_from(['-d', '-e', '-f']))} $CONDA_PREFIX/{draw(paths)}"
    if kind == 5 and not depth:
        operator = draw(st.sampled_from(["&&", "||"]))
        return f"{draw(conditions(1))} {operator} {draw(conditions(1))}"
    return draw(st.sampled_from(["true", "false", ":", f"[ {word} ]", f"[ ${draw(read_names)} ]"]))


@st.composite
def scripts(draw: st.DrawFn, depth: int = 0) -> str:
    lines = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 7))
        name = draw(names)
        if kind <= 2:
            lines.append(f"export {name}={draw(words())}")
        elif kind == 3:
            lines.append(f"{name}={draw(words())}")
        elif kind == 4:
            lines.append(draw(st.sampled_from([f"unset {name}", f"export {name}", "# a comment; \\"])))
        elif kind == 5:
            lines.append(f"{draw(conditions())} && export {name}={draw(words())}")
        elif kind == 6 and not depth:
            value = draw(st.sampled_from(["one", "two words", "$CONDA_PREFIX/x"]))
            default = f'export {name}="${{{name}:-{value}}}"'
            lines.append(draw(st.sampled_from([default, f'[ -z "${name}" ] && export {name}="{value}"'])))
        elif depth < 2:
            lines.append(f"if {draw(conditions())}; then\n{draw(scripts(depth + 1))}")
            if draw(st.booleans()):
                lines.append(f"elif {draw(conditions())}\nthen {draw(scripts(depth + 1))}")
            if draw(st.booleans()):
                lines.append(f"else\n{draw(scripts(depth + 1))}")
            lines.append("fi")
        else:
            lines.append("true")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package, installed."""
    folder = tmp_path_factory.mktemp("env").resolve()
    for path, kind in FILES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "directory":
            target.mkdir()
        elif kind == "softlink":
            target.symlink_to("engine")
        elif not path.startswith("site-packages"):
            target.write_text("")
    return folder


def run_bash(texts: list[str], prefix: Path, outer: dict[str, str]) -> dict[str, str]:
    """The environment after sourcing the scripts one after another, as `activated` does."""
    files = []
    for number, text in enumerate(texts):
        path = prefix / f"script{number}.sh"
        path.write_text(text, "utf-8")
        files.append(str(path))
    sourced = 'for file; do . "$file"; done; exec env -0'
    done = subprocess.run(
        [BASH, "-c", sourced, "bash", *files],
        env={**outer, "CONDA_PREFIX": str(prefix), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    rows = (row.partition("=") for row in done.stdout.decode().split("\0") if row)
    return {name: value for name, _, value in rows if name in (*NAMES, *OUTER)}


outer_values = st.sampled_from(["", "x", "one two", "*", "-n", "/tmp"])


@settings(max_examples=300, deadline=None)
@given(text=scripts(), outers=st.lists(st.dictionaries(st.sampled_from((*NAMES, *OUTER)), outer_values), max_size=3))
def test_bash_agrees_whatever_is_set_before(text: str, outers: list[dict[str, str]], prefix: Path) -> None:
    """A static variable has its value in any environment; a default only if the variable had none."""
    found = effects(text, str(prefix))
    for outer in ({}, *outers):
        after = run_bash([text], prefix, outer)
        for each in found.variables:
            expected = (outer.get(each.name) or after.get(each.name)) if each.is_default else each.value
            assert after.get(each.name) == expected, (text, outer, each)
            if each.name not in outer:
                assert after[each.name] == each.value, (text, outer, each)
        if found.is_static:
            static = {each.name for each in found.variables}
            for name in {*after} - static:
                # Unchanged, emptied, or the earlier value of another variable. What the script does not export is
                # changed only if it was exported before.
                if re.search(f"^{name}=", text, re.MULTILINE) and name in outer:
                    continue
                assert after[name] in {"", outer.get(name), *outer.values()}, (text, outer, name)


def single(kind: str) -> st.SearchStrategy[str]:
    template = "export {}={}" if kind == "export" else 'if [ -z "${{{0}:-}}" ]; then export {0}={1}; fi'
    return st.builds(template.format, names, st.sampled_from(["one", "two", "$CONDA_PREFIX/x"]))


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.sampled_from(["export", "default"]).flatmap(single), min_size=2, max_size=4))
def test_bash_agrees_about_several_packages(texts: list[str], prefix: Path) -> None:
    """The variables of all packages together are those that bash sets in the order of the scripts."""
    packages = [
        CondaPackage(
            *(f"p{9 - number}", "1", "0", "c", "noarch", f"p{number}-1-0.conda", "0" * 64),
            env=effects(text, str(prefix), f"etc/conda/activate.d/{number}.sh").variables,
        )
        for number, text in enumerate(texts)
    ]
    assert merge_variables(reversed(packages)) == run_bash(texts, prefix, {})
