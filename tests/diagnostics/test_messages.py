"""Text for people: credentials are masked, and a terminal shows every character as it is.

Promise 10: nothing leaks.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.cli.main import main
from envcompile.diagnostics.diagnostic import (
    Diagnostic,
    contains_credentials,
    escape_unprintable,
    format_diagnostic,
    mask_secret_values,
    redact_secrets,
)
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.digests import compute_sha256
from tests.kit.effort import count_examples, limit_processor_time
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "CANARY"


@pytest.mark.parametrize(
    "text",
    [
        "https://me:{}@host.example/simple",
        "https://{}@host.example/simple",
        "`https://me:{}/x@host.example/simple` is not the URL of an index",
        "see http://a.example/b?x=1 and https://me:{}@host.example",
        "host.example:{}@other.example",
        "https://host.example/t/{}/channel",
        "host.example/t/{}/channel",
        'index = "http://127.0.0.1/simple?token={}"',
        "http://127.0.0.1/simple?a=1&token={}#x",
        "http://127.0.0.1/simple?{}",
        "http://127.0.0.1/simple#access_token={}, which",
        "ftp://me:{}@host.example",
    ],
)
def test_credentials_in_urls_are_masked(text: str) -> None:
    secret = text.format(SECRET)
    shown = redact_secrets(secret)
    assert SECRET not in shown
    assert len(shown) == len(secret)
    is_query = "?" in text or "#" in text
    assert contains_credentials(secret) == (not is_query or "me:" in text)


@pytest.mark.parametrize(
    "text",
    [
        "`/home/me/t/project/envcompile.toml` cannot be read",
        "`../t/project/envcompile.toml` is current",
        "file:///srv/t/channel/noarch",
        "https://host.example:8080/path@v1",
        "python:3.12@sha256:0123",
        "is it true? yes: write to me@example.com",
        "`https://host.example/simple`, or `https://host.example/a#sha256=0123`.",
        "a // b",
    ],
)
def test_texts_without_credentials_do_not_change(text: str) -> None:
    """A folder named `t` is not a token."""
    assert redact_secrets(text) == text
    assert not contains_credentials(text)


@settings(max_examples=count_examples(2_000), deadline=None)
@given(st.text('/:@?#&=t.a "\n*', max_size=40))
def test_masking_keeps_columns_and_is_stable(text: str) -> None:
    shown = redact_secrets(text)
    assert len(shown) == len(text)
    assert shown.count("\n") == text.count("\n")
    assert redact_secrets(shown) == shown


@pytest.mark.parametrize("part", ["//", "//a:", "@", "/t/", "?", "a.", "//a:b@", ":a", "&", "#", "a/t/b "])
def test_masking_takes_linear_time(part: str) -> None:
    with limit_processor_time(10):
        redact_secrets(f"https://{part * 100_000}")


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    shown = escape_unprintable(text)
    assert shown.replace("\t", "").replace("\n", "").isprintable()
    assert escape_unprintable(shown) == shown


def test_escapes_name_the_character() -> None:
    text = "a\x1b]0;x\x07\u202e\u200b\x9b\xa0\U000e0041ü\t\n"
    assert escape_unprintable(text) == "a\\x1b]0;x\\x07\\u202e\\u200b\\x9b\\xa0\\U000e0041ü\t\n"


def test_the_caret_is_below_the_escaped_text() -> None:
    source = TomlSource("a\x1b.toml", 'x = ["\u202eb", "\u200bcd"]')
    lines = format_diagnostic(Diagnostic("name", "wrong \x1b", ("x", 1)), source).split("\n")
    assert lines[:2] == ["error[name]: wrong \\x1b", " --> a\\x1b.toml:1:12"]
    assert lines[3:5] == ['1 | x = ["\\u202eb", "\\u200bcd"]', "  |                 ^^^^^^^^^^"]


HOSTILE = "\x1b]0;title\x07\u202e\u200b"


@pytest.mark.parametrize(
    "command",
    [
        ["verify"],
        ["lock", "--offline", "--check"],
        ["diff", "envcompile.lock", "envcompile.lock"],
        ["diff", "other.lock", "envcompile.lock"],
        ["diff", "other.lock", "envcompile.lock", "--as", "markdown"],
        ["diff", "other.lock", "envcompile.lock", "--as", "json"],
        ["diff", "--textconv", "envcompile.lock"],
        ["explain"],
        ["explain", "--as", "json"],
        ["tree"],
        ["tree", f"torch{HOSTILE}"],
        ["tag", "--format", "github"],
        ["verify", f"{HOSTILE}.lock"],
        ["-f", f"{HOSTILE}.toml", "tag"],
        [f"lok{HOSTILE}"],
        ["explain", HOSTILE],
        ["-C", f"no{HOSTILE}", "verify"],
    ],
)
def test_no_command_writes_what_a_terminal_would_interpret(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A folder and a lock may come from anybody."""
    folder = tmp_path / f"project{HOSTILE}\n"
    shutil.copytree(FIXTURES / "compile" / "cuda", folder)
    lock = (folder / "envcompile.lock").read_text("utf-8")
    (folder / "other.lock").write_text(lock, "utf-8")
    head, digest, body = re.split('(digest = "sha256:[0-9a-f]{64}"\n)', lock, maxsplit=1)
    body = body.replace('decision = "', 'decision = "\u202e').replace('message = "', 'message = "\u200b')
    digest = f'digest = "{compute_sha256(body.encode())}"\n'
    (folder / "envcompile.lock").write_text(f"{head}{digest}{body}", "utf-8")
    monkeypatch.chdir(folder)
    main(command)
    sys.stdout.flush()
    out, errors = capsysbinary.readouterr()
    shown = (out + errors).decode().replace("\n", "").replace("\t", "")
    assert shown.isprintable(), [c for c in shown if not c.isprintable()]


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_the_query_of_an_index_is_masked(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f'name = "x"\npython = "3.12"\n[pip]\nindex = "http://127.0.0.1/simple?token={SECRET}"\npackages = ["a"]\n'
    (tmp_path / "envcompile.toml").write_text(spec, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["--format", form, "lock"]) == 2
    out, errors = capsys.readouterr()
    assert SECRET not in out + errors
    assert "token=******" in (json.loads(errors)["message"] if form == "json" else errors)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('API_TOKEN = "abc"', 'API_TOKEN = "***"'),
        ("env = { A = 'x', \"my.auth\" = 'it', B = 'y' }", "env = { A = 'x', \"my.auth\" = '**', B = 'y' }"),
        (r'PASSWORD = "a\"b", C = "d"', r'PASSWORD = "****", C = "d"'),
        ('KEY = """ab', 'KEY = """**'),
        ("key = 5, other = 6", "key = *, other = 6"),
        ('PUBLIC_KEY = "abc", KEYS = "a", TOKENIZERS = "b"', 'PUBLIC_KEY = "abc", KEYS = "a", TOKENIZERS = "b"'),
    ],
)
def test_the_values_of_secret_names_are_masked_in_excerpts(line: str, shown: str) -> None:
    assert mask_secret_values(line) == shown
    source = TomlSource("x.toml", line)
    text = format_diagnostic(Diagnostic("env-name", "wrong", offset=0), source)
    assert f"1 | {shown}\n" in text
