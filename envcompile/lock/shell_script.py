"""Parses activation scripts that are written in a small subset of the shell language.

The subset has comments, assignments, `export`, `unset`, `if`, `&&`, `||`, `!`, and the tests `[`, `[[` and `test`.
Words may have quotes, `$NAME`, `${NAME}`, and `${NAME-x}` and `${NAME+x}` with or without a colon. Anything else raises
`UnsupportedScriptError`: commands, functions, loops, arrays, substitutions, patterns, redirections.

`activation_effects` evaluates the result. The language is that of bash, which runs the scripts in the image.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias, Union

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
# Characters that mean themselves outside quotes. Others have a meaning that is not supported, such as patterns.
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./:,@%+=^-]+")
_SPECIAL_WORDS = re.compile(r"(?:\[\[?|\]\]?|!=?)(?=[\s;]|$)")
_BLANKS = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_OPERATOR = re.compile(r"[;\n]|&&|\|\|")
_WORD_END = re.compile(r"[ \t\n;&|]|\Z")
_SINGLE_QUOTED_TEXT = re.compile(r"'[^']*'")
_DOUBLE_QUOTED_TEXT = re.compile(r'[^"\\$`]+')
_OPERAND_TEXT = re.compile(r"[A-Za-z0-9_./:,@%+=^ -]+")
_EXPANSION_OPERATOR = re.compile(r":?[-+]")
UNARY_TESTS = ("-n", "-z", "-d", "-e", "-f")
EQUALITY_TESTS = ("=", "==", "!=")
_MAX_DEPTH = 50


class UnsupportedScriptError(Exception):
    """The script is not written in the supported subset."""


class Text(NamedTuple):
    """A part of a word that stands for itself."""

    text: str
    is_quoted: bool


class Expansion(NamedTuple):
    """A variable in a word. `operator` is empty, or `-`, `:-`, `+` or `:+` with the word `operand`."""

    name: str
    is_quoted: bool
    operator: str = ""
    operand: tuple[Text | Expansion, ...] = ()


Word: TypeAlias = "tuple[Text | Expansion, ...]"


class Assignment(NamedTuple):
    """`NAME=WORD` or, with `is_exported`, `export NAME=WORD`. Without a word, `export NAME`."""

    name: str
    word: Word | None
    is_exported: bool


class Unset(NamedTuple):
    """`unset NAME`."""

    name: str


class Constant(NamedTuple):
    """`true`, `false` or `:`."""

    status: bool


class WordTest(NamedTuple):
    """The arguments of `[` or `test`, whose number depends on the variables, or one comparison of `[[`."""

    arguments: tuple[Word, ...]
    is_bracketed_twice: bool


class Negation(NamedTuple):
    """`! COMMAND`."""

    command: Command


class Chain(NamedTuple):
    """`FIRST && SECOND` or, if `operator` is `||`, `FIRST || SECOND`."""

    first: Command
    operator: str
    second: Command


class Conditional(NamedTuple):
    """`if`: the conditions with their bodies, and the body of `else`."""

    branches: tuple[tuple[Commands, Commands], ...]
    otherwise: Commands


Command: TypeAlias = Union[Assignment, Unset, Constant, WordTest, Negation, Chain, Conditional, "Sequence"]


class Sequence(NamedTuple):
    """Commands that run one after another."""

    commands: tuple[Command, ...]


Commands: TypeAlias = "tuple[Command, ...]"


def parse_script(text: str) -> Commands:
    """Return the commands of a script. Raises `UnsupportedScriptError`."""
    parser = _CommandParser(_split_words(text))
    commands = parser.parse_commands(())
    if parser.tokens:
        raise UnsupportedScriptError
    return commands


# Words.


def _split_words(text: str) -> list[Word | str]:
    """Return the words of a script, and its operators (`;`, a line end, `&&`, `||`) as strings."""
    return list(iter(_WordScanner(text).scan_token, None))


class _WordScanner:
    """Splits the text of a script into words and operators."""

    def __init__(self, text: str) -> None:
        self._text, self._offset, self._depth = text, 0, 0

    def _peek(self) -> str:
        return self._text[self._offset : self._offset + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._offset)
        self._offset = found.end() if found else self._offset
        return found[0] if found else ""

    def scan_token(self) -> Word | str | None:
        """Return the next word or operator, or None at the end."""
        self._take(_BLANKS)
        self._take(_COMMENT)
        if not self._peek():
            return None
        return self._take(_OPERATOR) or self._scan_word()

    def _scan_word(self) -> Word:
        start = self._offset
        if special := self._take(_SPECIAL_WORDS):
            return (Text(special, is_quoted=False),)
        parts: list[Text | Expansion] = []
        while not _WORD_END.match(self._text, self._offset):
            parts += self._scan_part()
        if self._offset == start:
            raise UnsupportedScriptError  # a single `&` or `|`
        return tuple(parts)

    def _scan_part(self) -> Word:
        """Return the next part outside double quotes."""
        if plain := self._take(_PLAIN_TEXT):
            return (Text(plain, is_quoted=False),)
        if quoted := self._take(_SINGLE_QUOTED_TEXT):
            return (Text(quoted[1:-1], is_quoted=True),)
        character = self._peek()
        self._offset += 1
        if character == "\\" and self._peek():
            self._offset += 1
            escaped = self._text[self._offset - 1]
            return () if escaped == "\n" else (Text(escaped, is_quoted=True),)
        if character == "$":
            return (self._scan_expansion(is_quoted=False),)
        if character == '"':
            return self._scan_quoted()
        raise UnsupportedScriptError

    def _scan_quoted(self) -> Word:
        """Return the parts inside double quotes, of which there is at least one."""
        parts: list[Text | Expansion] = [Text("", is_quoted=True)]
        while (character := self._peek()) != '"':
            if text := self._take(_DOUBLE_QUOTED_TEXT):
                parts.append(Text(text, is_quoted=True))
                continue
            self._offset += 1
            if character == "$":
                parts.append(self._scan_expansion(is_quoted=True))
            elif character == "\\" and self._peek():
                escaped = self._peek()
                self._offset += 1
                if escaped != "\n":
                    parts.append(Text(escaped if escaped in '"\\$`' else f"\\{escaped}", is_quoted=True))
            else:
                raise UnsupportedScriptError
        self._offset += 1
        return tuple(parts)

    def _scan_expansion(self, *, is_quoted: bool) -> Expansion:
        """Return the expansion after a `$`."""
        if self._peek() != "{":
            return Expansion(self._scan_name(), is_quoted)
        self._offset += 1
        name = self._scan_name()
        operator = self._take(_EXPANSION_OPERATOR)
        operand: list[Text | Expansion] = []
        self._depth += 1
        while operator and self._peek() != "}":
            operand += self._scan_operand_part(is_quoted=is_quoted)
        self._depth -= 1
        if self._peek() != "}":
            raise UnsupportedScriptError
        self._offset += 1
        return Expansion(name, is_quoted, operator, tuple(operand))

    def _scan_operand_part(self, *, is_quoted: bool) -> Word:
        """Return the next part of the word in `${NAME:-WORD}`. Quotes in it are supported only outside quotes."""
        if self._depth > _MAX_DEPTH or self._peek() == "\\":
            raise UnsupportedScriptError
        if not is_quoted:
            return self._scan_part()
        if plain := self._take(_OPERAND_TEXT):
            return (Text(plain, is_quoted=True),)
        if self._peek() != "$":
            raise UnsupportedScriptError
        self._offset += 1
        return (self._scan_expansion(is_quoted=True),)

    def _scan_name(self) -> str:
        name = self._take(_NAME)
        if not name:
            raise UnsupportedScriptError
        return name


def get_literal(word: Word) -> str | None:
    """Return the text of a word that has neither quotes nor variables, or None."""
    (part, *others) = word or (None,)
    return part.text if isinstance(part, Text) and not part.is_quoted and not others else None


# Commands.


class _CommandParser:
    """Parses words and operators to commands. `tokens` are those that are left, in reverse order."""

    def __init__(self, tokens: list[Word | str]) -> None:
        self.tokens = tokens[::-1]
        self._depth = 0

    def _peek_keyword(self) -> str | None:
        """Return the next operator, or the next word if it is a literal, or None."""
        token = self.tokens[-1] if self.tokens else None
        return token if isinstance(token, str) or token is None else get_literal(token)

    def _take_keyword(self, keyword: str) -> None:
        if self._peek_keyword() != keyword:
            raise UnsupportedScriptError
        self.tokens.pop()

    def _skip_newlines(self) -> None:
        while self.tokens and self.tokens[-1] == "\n":
            self.tokens.pop()

    def parse_commands(self, ends: tuple[str, ...]) -> Commands:
        """Return the commands before the next of these keywords, or before the end."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnsupportedScriptError
        commands: list[Command] = []
        self._skip_newlines()
        while self.tokens and self._peek_keyword() not in ends:
            commands.append(self._parse_chain())
            if self.tokens and self.tokens.pop() not in (";", "\n"):
                raise UnsupportedScriptError
            self._skip_newlines()
        self._depth -= 1
        return tuple(commands)

    def _parse_chain(self) -> Command:
        command = self._parse_pipeline()
        while (operator := self._peek_keyword()) in ("&&", "||"):
            self.tokens.pop()
            self._skip_newlines()
            second = self._parse_pipeline()
            if isinstance(command, Conditional) or isinstance(second, Conditional):
                raise UnsupportedScriptError
            command = Chain(command, operator or "", second)
        return command

    def _parse_pipeline(self) -> Command:
        if self._peek_keyword() != "!":
            return self._parse_command()
        self.tokens.pop()
        command = self._parse_command()
        if isinstance(command, Conditional):
            raise UnsupportedScriptError
        return Negation(command)

    def _parse_command(self) -> Command:
        keyword = self._peek_keyword()
        if keyword == "if":
            return self._parse_conditional()
        if keyword == "[[":
            self.tokens.pop()
            command = self._parse_bracketed_or()
            self._take_keyword("]]")
            return command
        words: list[Word] = []
        while self.tokens and not isinstance(token := self.tokens[-1], str):
            words.append(token)
            self.tokens.pop()
        return _parse_simple_command(words)

    def _parse_conditional(self) -> Conditional:
        branches: list[tuple[Commands, Commands]] = []
        keyword = self._peek_keyword()
        while keyword in ("if", "elif"):
            self.tokens.pop()
            condition = self.parse_commands(("then",))
            self._take_keyword("then")
            body = self.parse_commands(("elif", "else", "fi"))
            if not condition or not body:
                raise UnsupportedScriptError
            branches.append((condition, body))
            keyword = self._peek_keyword()
        otherwise: Commands = ()
        if keyword == "else":
            self.tokens.pop()
            otherwise = self.parse_commands(("fi",))
            if not otherwise:
                raise UnsupportedScriptError
        self._take_keyword("fi")
        return Conditional(tuple(branches), otherwise)

    def _parse_bracketed_or(self) -> Command:
        command = self._parse_bracketed_and()
        while self._peek_keyword() == "||":
            self.tokens.pop()
            command = Chain(command, "||", self._parse_bracketed_and())
        return command

    def _parse_bracketed_and(self) -> Command:
        command = self._parse_bracketed_test()
        while self._peek_keyword() == "&&":
            self.tokens.pop()
            command = Chain(command, "&&", self._parse_bracketed_test())
        return command

    def _parse_bracketed_test(self) -> Command:
        if self._peek_keyword() == "!":
            self.tokens.pop()
            command = self._parse_bracketed_test_once()
            return Negation(command)
        return self._parse_bracketed_test_once()

    def _parse_bracketed_test_once(self) -> Command:
        words: list[Word] = []
        while self.tokens and not isinstance(token := self.tokens[-1], str) and self._peek_keyword() != "]]":
            words.append(token)
            self.tokens.pop()
        literals = [get_literal(word) for word in words]
        is_supported = (
            (len(words) == 1 and literals[0] not in (*UNARY_TESTS, "!"))
            or (len(words) == 2 and literals[0] in UNARY_TESTS)  # noqa: PLR2004 - operator and operand
            or (len(words) == 3 and literals[1] in EQUALITY_TESTS and literals[0] != "!")  # noqa: PLR2004
        )
        if not is_supported:
            raise UnsupportedScriptError
        return WordTest(tuple(words), is_bracketed_twice=True)


def _parse_simple_command(words: list[Word]) -> Command:
    name = get_literal(words[0]) if words else ""
    arguments = words[1:]
    if name in ("true", "false", ":") and not arguments:
        return Constant(name != "false")
    if name == "[" and arguments and get_literal(arguments[-1]) == "]":
        return WordTest(tuple(arguments[:-1]), is_bracketed_twice=False)
    if name == "test":
        return WordTest(tuple(arguments), is_bracketed_twice=False)
    if name == "unset" and arguments:
        names = [get_literal(each) for each in arguments]
        if names[0] == "-v":
            del names[0]
        return Sequence(tuple(Unset(_check_name(each)) for each in names))
    if name == "export" and arguments:
        return Sequence(tuple(_parse_assignment(each, is_exported=True) for each in arguments))
    if not words:
        raise UnsupportedScriptError
    return Sequence(tuple(_parse_assignment(each, is_exported=False) for each in words))


def _parse_assignment(word: Word, *, is_exported: bool) -> Assignment:
    literal = get_literal(word)
    if is_exported and literal is not None and "=" not in literal:
        return Assignment(_check_name(literal), None, is_exported)
    first = word[0] if word else None
    found = _ASSIGNMENT.fullmatch(first.text) if isinstance(first, Text) and not first.is_quoted else None
    if not found:
        raise UnsupportedScriptError
    value = (Text(found[2], is_quoted=False), *word[1:])
    return Assignment(found[1], value, is_exported)


def _check_name(name: str | None) -> str:
    if name is None or not _NAME.fullmatch(name):
        raise UnsupportedScriptError
    return name
