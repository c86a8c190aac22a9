"""Promises 10 and 11: whatever stands in the spec, it ends with a place and a hint; nothing leaks, nothing injects."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.cli.main import main
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_INVALID_INPUT
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.emit.dockerfile import compile_dockerfile
from tests.kit.project import FIXTURES, parsed, spec_of
from tests.kit.spec_keys import FREE, FULL, STRINGS, TABLES, TYPES, changed, dumps, paths, put

if TYPE_CHECKING:
    from pathlib import Path

    from envcompile.diagnostics.source import KeyPath

LOCK = (FIXTURES / "compile" / "ml" / "envcompile.lock").read_bytes()
GOOD = 'name = "ml"\npython = "3.12"\n\n[pip]\npackages = ["numpy"]\n'
CANARY = "c4n4ry-Pa55w0rd"
# Of processor time, which the kernel enforces. A run needs a tenth of a second.
SECONDS = 5
LIMITED = ("sh", "-c", f'ulimit -t {SECONDS}; exec "$@"', "sh")

FILES = {
    "empty": (b"", "missing-key"),
    "blank lines": (b"\n" * 1000, "missing-key"),
    "2 MiB of garbage": (bytes(range(256)) * (2 << 12), "too-large"),
    "a quarter of a MiB of garbage": (bytes(range(256)) * (1 << 10), "encoding"),
    "UTF-16": (GOOD.encode("utf-16"), "encoding"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "encoding"),
    "Latin-1": ("# Übung\n".encode("latin-1") + GOOD.encode(), "encoding"),
    "a byte order mark": (GOOD.encode("utf-8-sig"), "encoding"),
    "NUL": (GOOD.encode() + b"\0", "encoding"),
    "a binary": (b"\x7fELF\x02\x01\x01" + bytes(range(256)), "encoding"),
    "3,000 arrays": (f"{GOOD}x = {'[' * 3000}{']' * 3000}\n".encode(), "toml-syntax"),
    "3,000 open arrays": (f"{GOOD}x = {'[' * 3000}\n".encode(), "toml-syntax"),
    "3,000 tables": (f"{GOOD}x = {'{ a = ' * 3000}1{' }' * 3000}\n".encode(), "toml-syntax"),
    "5,000 digits": (f"x = {'9' * 5000}\n{GOOD}".encode(), "toml-syntax"),
    "5,000 hexadecimal digits": (f"x = 0x{'f' * 5000}\n{GOOD}".encode(), "toml-syntax"),
    "a port of 4,000 digits": (f"{GOOD}[image]\nexpose = [{'9' * 4000}]\n".encode(), "port"),
    "a port of 5,000 hexadecimal digits": (f"{GOOD}[image]\nexpose = [0x{'f' * 5000}]\n".encode(), "toml-syntax"),
    "a dotted key of 40 KB": (f"{'a.' * 20_000}a = 1\n{GOOD}".encode(), "toml-syntax"),
    "a dotted header of 40 KB": (f"{GOOD}[{'a.' * 20_000}a]\n".encode(), "toml-syntax"),
    "a key of 200 KB": (f"{'a' * 200_000} = 1\n{GOOD}".encode(), "unknown-key"),
    "a name of 200 KB": (GOOD.replace("ml", "-" * 200_000).encode(), "name"),
    "a requirement of 200 KB": (GOOD.replace("numpy", "numpy >=" + "1." * 100_000).encode(), "requirement"),
    "extras of 200 KB": (GOOD.replace("numpy", "numpy[" + "a," * 100_000).encode(), "requirement"),
    "1,900 brackets in a marker": (GOOD.replace("numpy", f"numpy ; {'(' * 1900}").encode(), "requirement"),
    "300 brackets around a marker": (
        GOOD.replace("numpy", f"numpy ; {'(' * 300}os_name == 'a'{')' * 300}").encode(),
        "requirement",
    ),
    "20,000 times the same": (GOOD.replace('"numpy"', '"a",' * 20_000).encode(), "duplicate"),
    "a line of passwords": (f'{GOOD}exclude = ["{"//a:b@" * 30_000}"{",1" * 10_000}]\n'.encode(), "wrong-type"),
    "a conda requirement of 200 KB": (f'{GOOD}[conda]\npackages = ["numpy[{"a" * 200_000}]"]\n'.encode(), "match-spec"),
    "a URL of 200 KB": (f'{GOOD}index = "https:{"//a:" * 50_000}"\n'.encode(), "url"),
    "80,000 wrong items": (f"{GOOD}exclude = [{'1,' * 80_000}]\n".encode(), "wrong-type"),
    "40,000 ports": (f"{GOOD}[image]\nexpose = [{','.join(map(str, range(1, 40_000)))}, 1]\n".encode(), "duplicate"),
    "30,000 unknown keys": (GOOD.encode() + b"".join(b"k%d=1\n" % each for each in range(30_000)), "unknown-key"),
    "nothing but quotes": (b'"' * 200_000, "toml-syntax"),
    "nothing but brackets": (b"[" * 200_000, "toml-syntax"),
    "nothing but backslashes": (b"\\" * 200_000, "toml-syntax"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; a lock of an earlier day stands there."""
    (tmp_path / "envcompile.lock").write_bytes(LOCK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", FILES)
def test_file(what: str, folder: Path) -> None:
    data, slug = FILES[what]
    (folder / "envcompile.toml").write_bytes(data)
    command = (*LIMITED, sys.executable, "-m", "envcompile", "lock")
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    said = done.stderr.decode()
    assert (done.stdout, done.returncode) == (b"", EXIT_INVALID_INPUT), said[:2000]
    assert f"error[{slug}]: " in said
    assert re.search(r"--> envcompile\.toml:[0-9]+:[0-9]+$", said, re.MULTILINE)
    assert said.count(" = hint: ") == said.count("error[")
    assert "Traceback" not in said
    assert len(said) < 100_000, "nobody reads that"
    assert max(map(len, said.splitlines())) < 1000
    assert (folder / "envcompile.lock").read_bytes() == LOCK


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lock", "-f", "."], "`.` is a folder, not a file"),
        (["lock", "-f", "nowhere.toml"], "`nowhere.toml` does not exist"),
        (["lock", "-C", "nowhere"], "cannot change to `nowhere`: No such file or directory"),
        (["lock"], "there is no `envcompile.toml` in "),
    ],
)
def test_no_file(arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No place can be named, but what was looked for. The last row: a folder of the spec's name is no spec."""
    (folder / "envcompile.toml").mkdir()
    assert main(arguments) == EXIT_INVALID_INPUT
    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.startswith(f"error: {sentence}")
    assert (folder / "envcompile.lock").read_bytes() == LOCK


class Refused:
    """What the command line says of a spec, read back from its JSON lines."""

    def __init__(self, value: dict[str, Any] | str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.text = value if isinstance(value, str) else dumps(value)
        (folder / "envcompile.toml").write_text(self.text, "utf-8")
        assert main(["lock", "--format", "json"]) == EXIT_INVALID_INPUT, self.text
        said, errors = capsys.readouterr()
        assert said == ""
        self.rows = [json.loads(line) for line in errors.splitlines()]
        assert all(row["message"] and row["hint"] and row["line"] and row["column"] for row in self.rows), errors
        assert (folder / "envcompile.lock").read_bytes() == LOCK

    def at(self, path: KeyPath, of: str = "value") -> set[str]:
        """The codes of what is said of this very place."""
        source = TomlSource("envcompile.toml", self.text)
        span = source.find_value(path) if of == "value" else source.find_key(path)
        assert span
        place = source.locate_offset(span.start)
        return {row["code"] for row in self.rows if (row["line"], row["column"]) == (place.line, place.column)}


@pytest.mark.parametrize("path", [path for path, _ in paths()], ids=str)
def test_wrong_type(path: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = dict(paths())[path]
    for name, wrong in TYPES.items():
        if path == ("image", "base") and name == "a string":
            continue  # a string is as good as a table
        if type(wrong) is not type(right):
            found = Refused(changed(path, wrong), folder, capsys)
            assert "wrong-type" in found.at(path), (name, found.text, found.rows)


@pytest.mark.parametrize("table", TABLES, ids=str)
@pytest.mark.parametrize("key", ["x", "pakages", "https://example.com/", "", "a b", "PATH", "é"])
def test_unknown_key(table: KeyPath, key: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Refused(changed((*table, key), "value"), folder, capsys)
    assert found.at((*table, key), "key") == {"unknown-key"}


@pytest.mark.parametrize("path", [path for path, _ in paths() if isinstance(path[-1], str)], ids=str)
def test_misspelt_key(path: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint names the key that was meant."""
    *table, key = path
    if tuple(table) in FREE:
        return
    misspelt = f"{key}{str(key)[-1]}"
    found = Refused(changed((*table, misspelt), "value"), folder, capsys)
    assert found.at((*table, misspelt), "key") <= {"unknown-key", "tool"}
    assert f"did you mean `{key}`?" in [row["hint"] for row in found.rows]


@pytest.mark.parametrize("name", ["HOME", "LC_ALL", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "ZERO_AR_DATE"])
def test_what_the_build_of_an_sdist_sets_itself(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ("pip", "metadata", "flash-attn", "build-env", name)
    assert Refused(changed(path, "x"), folder, capsys).at(path, "key") == {"env-reserved"}
    # Each of them is what the script sets: its words before any `=` of the lines that export.
    script = (FIXTURES.parent / "envcompile/emit/scripts/build-sdist").read_text("utf-8")
    exported = {
        each for line in script.splitlines() if line.startswith("export ") for each in re.findall(r"(\w+)=", line)
    }
    assert name in exported


CONTROLS = [chr(each) for each in (*range(9), *range(10, 32), *range(0x7F, 0xA0), 0x2028, 0x2029)]


@pytest.mark.parametrize("path", STRINGS, ids=str)
def test_control_character(path: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In values, at their beginning, middle and end; none is ever printed."""
    right = dict(paths())[path]
    for number, control in enumerate(CONTROLS):
        wrong = (f"{control}{right}", f"{right[:1]}{control}{right[1:]}", f"{right}{control}")[number % 3]
        found = Refused(changed(path, wrong), folder, capsys)
        assert "control-character" in found.at(path), (repr(control), found.rows)
        assert control not in json.dumps(found.rows, ensure_ascii=False)


@pytest.mark.parametrize("table", [*TABLES, *FREE, ("tools",)], ids=str)
def test_control_character_in_a_key(table: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for control in CONTROLS:
        key = f"A{control}RUN id"
        found = Refused(changed((*table, key), "value"), folder, capsys)
        assert "control-character" in found.at((*table, key), "key"), (repr(control), found.rows)
        assert control not in json.dumps(found.rows, ensure_ascii=False)


NOT_NAMES = [
    "-r requirements.txt",
    "--index-url https://example.com/simple",
    "-e .",
    "--find-links=/srv",
    ".",
    "./package",
    "/srv/package",
    "~/package",
    "C:\\package",
    "file:///srv/package",
    "acme @ file:///srv/package",
    "https://example.com/acme-1.0-py3-none-any.whl",
    "acme @ https://example.com/acme-1.0.tar.gz",
    "git+https://example.com/acme/tools@v1",
    "acme @ git+ssh://git@example.com/acme/tools",
    "$(id)",
    "`id`",
    "acme; RUN id",
    "acme && id",
    "acme\\",
    "{{7*7}}",
    "${HOME}",
    "",
    " ",
]
PACKAGES: list[KeyPath] = [
    *(("conda", "packages", 0), ("pip", "packages", 0), ("pip", "exclude", 0), ("pip", "allow-sdist", 0))
]
NAMED = [
    *PACKAGES,
    *(("pip", "extra-indexes", 0, "packages", 0), ("apt", "packages", 0), ("apt", "build", 0)),
    *(("name",), ("pip", "extra-indexes", 0, "name")),
]


@pytest.mark.parametrize("path", NAMED, ids=str)
def test_not_a_name(path: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options, paths, URLs and scraps of shell where a requirement or a name belongs."""
    # A name of Debian's or of an image may end like that of a file.
    files = ["acme-1.0-py3-none-any.whl", "acme-1.0.tar.gz"] if path in PACKAGES else []
    for wrong in (*NOT_NAMES, *files):
        found = Refused(changed(path, wrong), folder, capsys)
        assert found.at(path), (wrong, found.rows)


@pytest.mark.parametrize(
    ("path", "wrong", "slug"),
    [
        (("pip", "packages"), ["numpy", "NumPy >=2"], "duplicate"),
        (("pip", "packages"), ["a-b", "a_b", "A.B"], "duplicate"),
        (("pip", "exclude"), ["acme", "Acme"], "duplicate"),
        (("pip", "allow-sdist"), ["acme", "acme"], "duplicate"),
        (("conda", "packages"), ["ffmpeg", "conda-forge::FFmpeg =7"], "duplicate"),
        (("conda", "channels"), ["conda-forge", "conda-forge"], "duplicate"),
        (("apt", "packages"), ["git", "git"], "duplicate"),
        (("apt", "build"), ["gcc", "gcc"], "duplicate"),
        (("cuda", "compute"), ["8.0", "8.0"], "duplicate"),
        (("platforms",), ["linux-64", "linux-64"], "duplicate"),
        (("lock", "exports"), ["pylock.toml", "pylock.toml"], "duplicate"),
        (("image", "expose"), [80, 80], "duplicate"),
        (("image", "expose"), [80, 0], "port"),
        (("image", "expose"), [80, -1], "port"),
        (("image", "expose"), [80, 65536], "port"),
        (("image", "expose"), [80, 2**63], "port"),
    ],
)
def test_item(path: KeyPath, wrong: list[Any], slug: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place is that of the last item: the one too many, or the one out of range."""
    assert slug in Refused(changed(path, wrong), folder, capsys).at((*path, len(wrong) - 1))


@pytest.mark.parametrize(
    "user", ["", "1000", "1000:", ":1000", "-1:0", "0:-1", "01:1", "2147483648:0", "0:2147483648", "app:app", "0x0:0"]
)
def test_user(user: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Refused(changed(("image", "user"), user), folder, capsys).at(("image", "user")) == {"user"}


SECRETS = [
    f"https://someone:{CANARY}@example.invalid/simple",
    f"https://{CANARY}@example.invalid/simple",
    f"https://someone:p@{CANARY}@example.invalid/simple",
    f"https://someone:p/{CANARY}@example.invalid/simple",
    f'https://someone:p"{CANARY}@example.invalid/simple',
    f"https://{80 * 'a'}:{CANARY}@example.invalid/simple",
    f"https://{40 * 'a'}:{CANARY}{80 * 'z'}@example.invalid/simple",
    f"//someone:{CANARY}@example.invalid/simple",
    f"someone:{CANARY}@example.invalid/simple",
    f"git+https://someone:{CANARY}@example.invalid/acme.git@v1",
    f"acme @ https://someone:{CANARY}@example.invalid/acme-1.0-py3-none-any.whl",
    f"--index-url https://someone:{CANARY}@example.invalid/simple",
    f"-e git+https://{CANARY}@example.invalid/acme.git",
    f"https://someone:{CANARY}@example.invalid/channel::acme",
    f"https://someone:{CANARY}@example.invalid/acme@sha256:{64 * 'a'}",
]


@pytest.mark.parametrize("path", STRINGS, ids=str)
@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_no_secret_is_told(path: KeyPath, form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A password in any string, whatever else is wrong with it; a token where a conda channel has one."""
    for secret in (*SECRETS, f"https://example.invalid/t/{CANARY}/channel"):
        # The last key is unknown, so that the spec is refused whether or not the string is.
        value = {**changed(path, secret), "zzz": {}}
        (folder / "envcompile.toml").write_text(dumps(value), "utf-8")
        assert main(["lock", "--format", form]) == EXIT_INVALID_INPUT
        said, errors = capsys.readouterr()
        assert said == ""
        assert "zzz" in errors
        assert CANARY not in errors, secret
    assert (folder / "envcompile.lock").read_bytes() == LOCK


@pytest.mark.parametrize("path", STRINGS, ids=str)
@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_nothing_turns_what_is_told_around(
    path: KeyPath, form: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Marks that reorder or hide text on a terminal are no control characters, and are not printed either."""
    for mark in "\u200b\u202e\u2066\ufeff\U000e0041":
        (folder / "envcompile.toml").write_text(dumps({**changed(path, f"***{mark}!"), "zzz": {}}), "utf-8")
        assert main(["lock", "--format", form]) == EXIT_INVALID_INPUT
        assert mark not in capsys.readouterr().err


@pytest.mark.parametrize("table", [*TABLES, *FREE, ("tools",)], ids=str)
def test_no_secret_is_told_of_a_key(table: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for secret in SECRETS:
        found = Refused(changed((*table, secret), "value"), folder, capsys)
        assert CANARY not in json.dumps(found.rows), secret


ADDRESSES = [
    *(("pip", "index"), ("pip", "extra-indexes", 0, "url"), ("conda", "channels", 0), ("conda", "packages", 0)),
    ("pip", "packages", 0),
]


@pytest.mark.parametrize("path", ADDRESSES, ids=str)
def test_userinfo(path: KeyPath, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said to be what it is where a URL may stand."""
    for secret in SECRETS:
        if not secret.startswith("-"):
            assert "userinfo" in Refused(changed(path, secret), folder, capsys).at(path), secret


HOSTILE = [
    "{{7*7}}",
    "{% raw %}",
    "${HOME}",
    "$HOME",
    "$(id)",
    "`id`",
    '"; RUN id',
    "'; RUN id; '",
    "\nRUN id",
    "\r\nRUN id",
    "\\",
    "\\\nRUN id",
    "EOF",
    "<<EOF",
    "# syntax=example.invalid/frontend",
    "# escape=`",
    " AS run",
    "a b\tc",
    "🐍 é",
    "--privileged",
    "a\u202eb",
]


@pytest.mark.parametrize("path", [path for path, value in paths(FULL) if isinstance(value, str)], ids=str)
def test_nothing_injects(path: KeyPath) -> None:
    """A hostile string is refused, or stands in the Dockerfile as it is, quoted; no instruction is added or changed."""
    _, lock = parsed("everything")
    # The lock has no init program.
    good = put(FULL, ("image", "init"), False)
    benign = compile_dockerfile(spec_of(dumps(good)), lock)
    # With a slash before it, for where a path belongs.
    for hostile in (*HOSTILE, *(f"/{each}" for each in HOSTILE)):
        try:
            spec = spec_of(dumps(put(good, path, hostile)))
        except DiagnosticsError:
            continue
        text = compile_dockerfile(spec, lock)
        assert shape(text) == shape(benign), hostile
        if path[0] != "image" or path[1] in ("base", "repository", "allow-secret-names"):
            continue  # a name or a path like any other, which stands in the lock or the tag
        word = hostile if re.fullmatch(r"[\w./:@+=-]+", hostile, re.ASCII) else quoted(hostile)
        in_list = path[1] in ("entrypoint", "command", "healthcheck")
        expected = json.dumps(hostile, ensure_ascii=False) if in_list else word
        assert re.search(rf"(?m)[ =\[]{re.escape(expected)}(?:\]| |$)", text), hostile


def quoted(text: str) -> str:
    """In double quotes, as the Dockerfile's lexer reads it back: see `tests/property/test_quoting.py`."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


FREE_TEXT: list[KeyPath] = [
    *(("image", "env", "PYTHONUNBUFFERED"), ("image", "labels", "org.example.source")),
    *(("image", "entrypoint", 0), ("image", "command", 0)),
    ("pip", "metadata", "flash-attn", "build-env", "MAX_JOBS"),
]


@pytest.mark.parametrize("path", FREE_TEXT, ids=str)
@pytest.mark.parametrize("text", [text for text in HOSTILE if "\n" not in text])
def test_free_text_is_not_refused(path: KeyPath, text: str) -> None:
    """What a shell or a template would obey is a text like any other."""
    spec = spec_of(dumps(put(FULL, path, text)))
    assert text in str(spec) or repr(text)[1:-1] in str(spec)


def shape(text: str) -> list[str]:
    """The instructions of a Dockerfile in order: RUN and FROM whole, of all others the word."""
    without_data = []
    data = iter(text.splitlines())
    for line in data:
        without_data.append(line)
        for end in re.findall(r"<<'([^']+)'", line) if line.startswith("COPY") else ():
            while next(data) != end:
                pass
    lines = re.sub(r"\\\n", "", "\n".join(without_data)).splitlines()
    found = [line for line in lines if line.strip() and not line.startswith("#")]
    return [line if line.startswith(("RUN", "FROM", "COPY")) else line.split()[0] for line in found]
