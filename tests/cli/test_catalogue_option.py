"""Which catalogue decides: the option's, the settings', or this release's."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.loading import load_catalogue
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (FIXTURES.parent / "envcompile/base_image/data/catalogue.json").read_text("utf-8")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "envcompile").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path / "home")}


def write(path: Path, date: str) -> str:
    """A catalogue of another date; its digest."""
    data = json.loads(TEXT) | {"date": date}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), "utf-8")
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_the_nearest_word_decides(tmp_path: Path, environment: dict[str, str]) -> None:
    assert load_catalogue(None, environment) is load_default_catalogue()
    settings = tmp_path / "envcompile" / "config.toml"
    digest = write(tmp_path / "envcompile" / "own.json", "2027-01-01")
    settings.write_text('catalogue = "own.json"\n', "utf-8")  # as seen from the settings' folder
    found = load_catalogue(None, environment)
    assert (found.date, found.digest) == ("2027-01-01", digest)
    write(tmp_path / "home" / "far.json", "2027-02-02")
    settings.write_text('catalogue = "~/far.json"\n[mirrors]\n"docker.io" = "m.example.invalid"\n', "utf-8")
    assert load_catalogue(None, environment).date == "2027-02-02"
    write(tmp_path / "option.json", "2027-03-03")
    assert load_catalogue(str(tmp_path / "option.json"), environment).date == "2027-03-03"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("catalogue = 3\n", "`catalogue` in .* must be a string"),
        ('catalogue = ""\n', "`catalogue` in .* must be a string"),
        ('catalogue = "none.json"\n', "none.json` does not exist"),
        ('catalouge = "own.json"\n', "`catalouge` in .* is not a setting"),
        ("catalogue =\n", "cannot be read"),
    ],
)
def test_settings_that_name_none(tmp_path: Path, environment: dict[str, str], settings: str, said: str) -> None:
    """Never the shipped one in the place of the one that is meant."""
    (tmp_path / "envcompile" / "config.toml").write_text(settings, "utf-8")
    with pytest.raises(InvalidInputError, match=said) as caught:
        load_catalogue(None, environment)
    assert caught.value.hint


def test_a_file_that_is_none(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "c.json"
    for content, said in ((b"\xff", "is not UTF-8 text: byte 0"), (b" " * (5 << 20), "is larger than 4 MiB")):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=said):
            load_catalogue(str(path), environment)
    path.write_text("{}", "utf-8")
    with pytest.raises(DiagnosticsError):
        load_catalogue(str(path), environment)
    with pytest.raises(InvalidInputError, match="is a folder"):
        load_catalogue(str(tmp_path), environment)
