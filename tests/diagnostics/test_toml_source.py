"""TOML texts, hard cases: the spans of keys and values, the messages for invalid TOML, and the running time."""

from __future__ import annotations

import pytest

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.source import KeyPath, TextPosition, TextSpan
from envcompile.diagnostics.toml_source import TomlSource
from tests.kit.effort import count_calls, limit_processor_time


def at(text: str, path: KeyPath) -> tuple[str, str]:
    """The text of the key and the text of the value at a path."""
    source = TomlSource("envcompile.toml", text)
    _ = source.value
    key, value = source.find_key(path), source.find_value(path)
    assert key is not None
    assert value is not None
    return text[key.start : key.end], text[value.start : value.end]


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ('a = "x" # "y"', ("a",), "a", '"x"'),
        ("a.b.c = 1", ("a",), "a", "a"),
        ("a.b.c = 1", ("a", "b"), "b", "b"),
        ("a.b.c = 1", ("a", "b", "c"), "c", "1"),
        ("'a.b' . \"\\u0063\\x64\" = 1", ("a.b", "cd"), '"\\u0063\\x64"', "1"),
        ('"" = 1\n', ("",), '""', "1"),
        ("'' = 1\n", ("",), "''", "1"),
        ("3.14 = 1", ("3", "14"), "14", "1"),
        ("1979-05-27 = 1979-05-27 07:32:00.5-07:00 # c", ("1979-05-27",), "1979-05-27", "1979-05-27 07:32:00.5-07:00"),
        ("a = 1979-05-27 # 07:32", ("a",), "a", "1979-05-27"),
        ("a = +1_000e-3", ("a",), "a", "+1_000e-3"),
        ("[ a . 'b' ]\nc = 1", ("a", "b"), "'b'", "[ a . 'b' ]"),
        ("[a.b.c]\n[a.b.d]", ("a", "b"), "b", "[a.b.c]"),
        ("[a.b]\n[a]\nc = 1", ("a",), "a", "[a]"),
        ("[a.b]\n[a]\nc = 1", ("a", "b"), "b", "[a.b]"),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a",), "a", "[[a]]"),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1, "x"), "x", "2"),
        ("[[a]]\n[a.b]\nx = 1\n[[a.c]]\nd.e = 2", ("a", 0, "c", 0, "d", "e"), "e", "2"),
        ("[[a.b]]\n[[ a.b ]]", ("a", "b", 1), "[[ a.b ]]", "[[ a.b ]]"),
        ("a = [\r\n 1, # ]\r\n [2, 'x]'], # c\r\n]\r\n", ("a", 1, 1), "'x]'", "'x]'"),
        ("a = [\r\n 1, # ]\r\n [2, 'x]'], # c\r\n]\r\nb = 1", ("b",), "b", "1"),
        ("a = [{b = [{c.d = {}}]}, []]", ("a", 0, "b", 0, "c", "d"), "d", "{}"),
        ("a = [{b = [{c.d = {}}]}, []]", ("a", 1), "[]", "[]"),
        ("a = [ ]\nb = {\n x = 1, # }\n y = [2],\n}", ("b", "y", 0), "2", "2"),
        ('a = """x"""""\nb = 1', ("a",), "a", '"""x"""""'),
        ("a = '''x''\\'''''\nb = 1", ("a",), "a", "'''x''\\'''''"),
        ('a = """\\\r\n  \\"""x" ""y"""\nb = 1', ("b",), "b", "1"),
        ('a = """"""\nb = 1', ("b",), "b", "1"),
        ('a = "\\\\"\nb = "\\e\\x41"', ("b",), "b", '"\\e\\x41"'),
        ("'clé\U0001f600' = 1", ("clé\U0001f600",), "'clé\U0001f600'", "1"),
    ],
)
def test_spans_of_key_and_value(text: str, path: KeyPath, key: str, value: str) -> None:
    assert at(text, path) == (key, value)


def test_path_without_a_span() -> None:
    source = TomlSource("s", "[a]\nb = [1]")
    assert (
        source.find_key(())
        is source.find_value(())
        is source.find_nearest_value(())
        is source.find_nearest_value(("z",))
        is None
    )
    assert (
        source.find_key(("a", "z")) is source.find_value(("a", "b", 1)) is source.find_value(("a", "b", 0, "c")) is None
    )
    assert source.find_nearest_value(("a", "z", 3)) == TextSpan(0, 3)
    assert source.find_nearest_value(("a", "b", 7, "c")) == source.find_value(("a", "b")) == TextSpan(8, 11)


def test_lines_and_columns_count_from_one_in_characters() -> None:
    source = TomlSource("s", "a = 'é\U0001f600' # x\r\n\r\nb = 1")
    places = [source.locate_offset(offset) for offset in (0, 8, 16, 20)]
    assert places == [TextPosition(1, 1), TextPosition(1, 9), TextPosition(3, 1), TextPosition(3, 5)]
    assert [source.get_line(number) for number in range(5)] == ["", "a = 'é\U0001f600' # x", "", "b = 1", ""]
    assert TomlSource("s", "").locate_offset(0) == TextPosition(1, 1)
    assert TomlSource("s", "a = 1\n").locate_offset(6) == TextPosition(2, 1)
    assert TomlSource("s", "a = 1\n").get_line(2) == ""


DEEP = 3_000
LONG = "a." * 20_000 + "a"


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a = 1\r\nb = 2\r\nc = \r\n", "invalid value", 18),
        ("\r\n\r\na = [1,", "invalid value", 11),
        ('a = "x\r\n', "illegal end of line", 6),
        ("[a.b]\n[a.b]\n", "cannot declare 'a.b' twice", 10),
        ("[a]\n[a]\n", "cannot declare 'a' twice", 6),
        ("a = 1\na = 2\n", "cannot overwrite a value", 11),
        ("a = " + "[" * DEEP + "]" * DEEP, "the value is nested too deeply", 405),
        ("a = " + "{a=" * DEEP + "1" + "}" * DEEP, "the value is nested too deeply", 1207),
        ("a = " + "[" * 1_000_000, "the value is nested too deeply", 405),
        (
            f'# {"1" * 5000}\nb = "{"1" * 5000}"\na = [0x{"1" * 5000},\n -{"1" * 5000}]',
            "a number has too many digits",
            10015,
        ),
        ("a = 1" + "_1" * 400_000, "a number has too many digits", 4),
        (f"x = 1\n{LONG} = 1", "the key has more than 16 parts", 6),
        (f"x = 1\n[{LONG}]", "the key has more than 16 parts", 7),
        (f"x = [1, {{y = 1, {LONG} = 1}}]", "the key has more than 16 parts", 16),
        ("'a' . \"b\"\t." * 10 + "c = 1", "the key has more than 16 parts", 0),
        ("a." * 400_000, "the key has more than 16 parts", 0),
        (f"x = \n{LONG} = 1", "invalid value", 4),
        (f'x = """\n{LONG} = 1\n', "unterminated string", 40014),
        (f"x = [0x{'1' * 5000}]", "a number has too many digits", 5),
        (f"x = '0b{'1' * 5000}'\ny = 0b{'1' * 5000}", "a number has too many digits", 5013),
        (f"x = 1{'.1' * 20_000}", "expected newline or end of document after a statement", 7),
    ],
)
def test_invalid_toml(text: str, message: str, offset: int) -> None:
    # A linear parser takes hundredths of a second, a quadratic one minutes.
    with limit_processor_time(10), pytest.raises(DiagnosticsError) as caught:
        _ = TomlSource("s", text).value
    (found,) = caught.value.diagnostics
    assert (found.rule, found.message, found.offset) == ("toml-syntax", message, offset)


@pytest.mark.parametrize(
    "text",
    [
        f"# {LONG}\na = 1 # {LONG} = 1",
        f'a = \'{LONG}\'\nb = "\\"{LONG}"',
        f"a = '''\n{LONG} = 1\n'''\nb = \"\"\"\n{LONG} = 1\n\"\"\"",
        f"'{LONG}'.\"{LONG}\" = 1",
        "a." * 15 + "a = 1",
        "a = " + "[" * 200 + "]" * 200,
        f"a = 0x{'1' * 600}  # 0x{'1' * 5000}\nb = '0x{'1' * 5000}'",
        "a = ['" + "x==1.2.3', '" * 1000 + "']",
    ],
)
def test_valid_toml_near_the_limits(text: str) -> None:
    assert TomlSource("s", text).value


def test_spans_before_a_syntax_error() -> None:
    source = TomlSource("s", "a = [1]\nb = [2, {c = \nd = 3")
    assert source.find_value(("a", 0)) == TextSpan(5, 6)
    assert source.find_key(("b", 1, "c")) == TextSpan(17, 18)
    assert source.find_key(("d",)) is None


@pytest.mark.parametrize(
    ("start", "item", "end", "count", "path"),
    [
        ("a = [", "1,", "]", 200_000, ("a", 99_999)),
        ("a = [", "#\n", "]", 500_000, ("a",)),
        ('a = """', "\\n", '"""', 500_000, ("a",)),
        ("", f"a{{}} = {'[' * 300}{']' * 300}\n", "", 600, ("a299", *(0,) * 299)),
    ],
)
def test_scanning_takes_linear_time(start: str, item: str, end: str, count: int, path: KeyPath) -> None:
    """Twice the text takes about twice the calls. The time limit detects slow regular expressions."""

    def find_place(count: int) -> None:
        text = start + "".join(item.format(number) for number in range(count)) + end
        assert TomlSource("s", text).find_value(path)

    with limit_processor_time(20):
        find_place(count)
    assert count_calls(lambda: find_place(count)) < 2.1 * count_calls(lambda: find_place(count // 2))


def test_valid_file_is_not_scanned() -> None:
    source = TomlSource("s", 'name = "x"\n[pip]\npackages = ["numpy>=1.26"]')
    _ = source.value
    assert "_scanner" not in vars(source)
