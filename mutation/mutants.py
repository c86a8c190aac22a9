"""Mutants of a module: its source with one expression or statement changed."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
_FUNCTIONS = {
    "sorted": "list",
    "reversed": "list",
    "any": "all",
    "all": "any",
    "min": "max",
    "max": "min",
    "frozenset": "tuple",
    "len": "bool",
}
_METHODS = {
    "startswith": "endswith",
    "endswith": "startswith",
    "partition": "rpartition",
    "rpartition": "partition",
    "removeprefix": "removesuffix",
    "removesuffix": "removeprefix",
    "lower": "upper",
    "upper": "lower",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "find": "rfind",
    "fullmatch": "match",
    "match": "search",
    "search": "match",
    "issubset": "issuperset",
    "setdefault": "get",
    "union": "intersection",
}
# An escape or a character class as a whole, or a quantifier behind something.
_PATTERN_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:[:=!#]|<[=!]|P<\w+>)|\{(\d+)(,\d*)?\}|[+*?|]", re.DOTALL
)
_OTHER_QUANTIFIER = {"+": "*", "*": "+", "?": "", "|": ""}


class Mutant(NamedTuple):
    """One change of a module.

    `before` and `after` are the changed lines without indentation, with one space for each run of blanks.
    `function` is the qualified name of the enclosing function or class, empty at the module's level.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    source: str


class _Edit(NamedTuple):
    """The replacement of the text between two offsets."""

    start: int
    end: int
    text: str


def find_mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of their lines. Messages, annotations and imports are not mutated."""
    finder = _EditFinder(source)
    found: dict[str, Mutant] = {}
    for statement in _iter_children(ast.parse(source)):
        # An edit changes one statement of the module. Parsing that alone is enough, and much faster than the module.
        start, end = finder.find_lines(statement)
        original = ast.dump(ast.parse(source[start:end]))
        for function, edit in finder.find_edits(statement):
            try:
                changed = ast.parse(source[start : edit.start] + edit.text + source[edit.end : end])
            except SyntaxError:
                continue
            if ast.dump(changed) == original:
                continue
            mutated = source[: edit.start] + edit.text + source[edit.end :]
            first = source.rfind("\n", 0, edit.start) + 1
            last = source.find("\n", edit.end)
            last = len(source) if last < 0 else last
            before = source[first:last]
            after = source[first : edit.start] + edit.text + source[edit.end : last]
            line = source.count("\n", 0, edit.start) + 1
            words = " ".join(before.split()), " ".join(after.split())
            found.setdefault(mutated, Mutant(module, function, line, *words, mutated))
    return sorted(found.values(), key=lambda mutant: (mutant.line, mutant.before, mutant.after))


class _EditFinder:
    """Walks a syntax tree and yields edits of the source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._lines = source.splitlines()

    def find_lines(self, statement: ast.AST) -> tuple[int, int]:
        """The offsets between which the lines of a statement are, without those of its decorators."""
        assert isinstance(statement, ast.stmt)
        return self._line_starts[statement.lineno - 1], self._line_starts[statement.end_lineno or statement.lineno]

    def find_edits(self, node: ast.AST, function: str = "") -> Iterator[tuple[str, _Edit]]:
        """The edits within a node, each with the function that encloses it."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}" if function else node.name
        yield from ((function, edit) for edit in self._edits_of(node))
        for child in _iter_children(node):
            yield from self.find_edits(child, function)

    def _edits_of(self, node: ast.AST) -> Iterator[_Edit]:
        match node:
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.BinOp() | ast.AugAssign():
                yield from self._change_operator(node)
            case ast.Constant():
                yield from self._change_constant(node)
            case ast.Call():
                yield from self._change_call(node)
            case ast.Slice():
                yield from (self._replace(end, "") for end in (node.lower, node.upper) if end)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.If() | ast.While() | ast.IfExp():
                yield from self._negate(node.test)
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._negate(test)
                    yield self._replace(test, "True")
        yield from self._change_statement(node)

    def _change_operator(self, node: ast.AST) -> Iterator[_Edit]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for left, operator, right in zip(operands, node.ops, node.comparators, strict=False):
                    yield from self._swap_operator(left, right, *_COMPARISONS[type(operator)])
            case ast.BoolOp():
                word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._swap_operator(left, right, word, other)
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace(node, self._text(node.operand))
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                yield from self._swap_operator(node.left, node.right, *_ARITHMETIC[type(node.op)])
            case ast.AugAssign() if type(node.op) in _ARITHMETIC:
                yield from self._swap_operator(node.target, node.value, *_ARITHMETIC[type(node.op)])

    def _change_statement(self, node: ast.AST) -> Iterator[_Edit]:
        match node:
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield self._replace(value, "None")
            case ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
                yield self._replace(node, "pass")
            case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
                yield self._replace(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self._replace(node, "pass")

    def _swap_operator(self, left: ast.expr, right: ast.expr, word: str, other: str) -> Iterator[_Edit]:
        """Replace the operator in the text between two operands."""
        start, end = self._offset(left, end=True), self._offset(right)
        pattern = re.escape(word).replace(r"\ ", r"\s+")
        if word[0].isalpha():
            pattern = rf"\b{pattern}\b"
        if found := re.search(pattern, self._source[start:end]):
            yield _Edit(start + found.start(), start + found.end(), other)

    def _negate(self, test: ast.expr) -> Iterator[_Edit]:
        # The swap of the only operator, or the removal of `not`, is the same mutant.
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In):
            return
        yield self._replace(test, f"(not ({self._text(test)}))")

    def _change_constant(self, node: ast.Constant) -> Iterator[_Edit]:
        text = self._text(node)
        match node.value:
            case bool():
                yield self._replace(node, str(not node.value))
            case int():
                yield self._replace(node, str(node.value + 1))
            case str() if text.startswith(("r", "rf")):
                start = self._offset(node)
                yield from (_Edit(start + each.start, start + each.end, each.text) for each in change_pattern(text))
            case str() if " " not in node.value.strip():
                yield self._replace(node, repr(f"{node.value}X"))
            case bytes():
                yield self._replace(node, repr(node.value + b"X"))

    def _change_call(self, node: ast.Call) -> Iterator[_Edit]:
        match node.func:
            case ast.Name(id=name) if name in _FUNCTIONS:
                yield self._replace(node.func, _FUNCTIONS[name])
                if name == "sorted" and node.keywords:
                    # `list` takes no keywords: that mutant would only fail to run.
                    yield self._replace(node, f"list({self._text(node.args[0])})")
            case ast.Attribute(value=value, attr=name) if name in _METHODS:
                yield _Edit(
                    self._offset(node.func, end=True) - len(name), self._offset(node.func, end=True), _METHODS[name]
                )
            case ast.Attribute(value=value, attr="strip"):
                yield self._replace(node, self._text(value))

    def _replace(self, node: ast.AST, text: str) -> _Edit:
        return _Edit(self._offset(node), self._offset(node, end=True), text)

    def _text(self, node: ast.AST) -> str:
        return self._source[self._offset(node) : self._offset(node, end=True)]

    def _offset(self, node: ast.AST, *, end: bool = False) -> int:
        names = ("end_lineno", "end_col_offset") if end else ("lineno", "col_offset")
        line, column = (int(getattr(node, name)) for name in names)
        # Columns count bytes of UTF-8.
        return self._line_starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def change_pattern(text: str) -> Iterator[_Edit]:
    """The edits of a regular expression: other quantifiers and no alternation."""
    for token in _PATTERN_TOKEN.finditer(text):
        word = token[0]
        if token[1]:
            yield _Edit(token.start(1), token.end(1), str(int(token[1]) + 1))
        elif word in _OTHER_QUANTIFIER:
            yield _Edit(token.start(), token.end(), _OTHER_QUANTIFIER[word])


def _iter_children(node: ast.AST) -> Iterator[ast.AST]:
    """The children that may be mutated: no docstrings, annotations, imports, decorators, messages or default types."""
    match node:
        case ast.FunctionDef():
            yield from (each for each in (*node.args.defaults, *node.args.kw_defaults) if each)
            yield from _skip_docstring(node.body)
        case ast.ClassDef() | ast.Module():
            yield from _skip_docstring(node.body)
        case ast.AnnAssign():
            if node.value and "TypeAlias" not in ast.unparse(node.annotation):
                yield node.value
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            return
        case ast.Call(func=ast.Name(id="TypeVar" | "cast")):
            return
        case _:
            yield from ast.iter_child_nodes(node)


def _skip_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if has_docstring else body


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
