"""What the formatter prints parses to the same tree, whatever the tree."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hslpy.lang import syntax as s
from hslpy.lang.build import ILLEGAL_NAMES
from hslpy.lang.diagnostics import render_all
from hslpy.lang.format import format_script
from hslpy.lang.parse import grammar_text, parse
from hslpy.lang.source import Source, Span

NOWHERE = Span(Source("nowhere", ""), 0, 0)
PLACES = {"span", "op_span", "name_span", "bad_escapes"}


def bare(node: Any) -> Any:
    """Give a node without its places, as nested tuples."""
    if isinstance(node, s.Node):
        return (
            type(node).__name__,
            *[bare(getattr(node, f.name)) for f in dataclasses.fields(node) if f.name not in PLACES],
        )
    if isinstance(node, tuple):
        return tuple(bare(item) for item in node)
    return node


def make(cls: Any, *parts: Any, **named: Any) -> Any:
    """Give a strategy of nodes without a place."""
    fixed = {"op_span": st.just(NOWHERE)} if cls is s.Binary else {}
    return st.builds(cls, st.just(NOWHERE), *parts, **named, **fixed)


def items(strategy: Any, least: int = 0, most: int = 3) -> Any:
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


_listed = re.search(r"^NAME: /\(\?!\(\?:(.*?)\)", grammar_text(), re.MULTILINE)
assert _listed
KEPT = {*_listed[1].split("|"), "as", "this", "builtin", "default", "object", "match"}
names = st.sampled_from(["f", "x", "from", "with", "Foo_1", "_", "iffy", "notx", "echoes"]) | st.from_regex(
    r"\A[A-Za-z_][A-Za-z0-9_]{0,5}\Z"
).filter(lambda name: name not in KEPT | ILLEGAL_NAMES)
any_names = names | st.sampled_from(sorted(KEPT - {"this"}))
bytes_text = st.text(st.characters(max_codepoint=255), max_size=8)
tricky_text = st.lists(
    st.sampled_from(["$", "{", "}", "a", "\\", '"', "'", "\n", "$a", "${a}", "9", "\xe5", "/", "x41"]), max_size=6
).map("".join)
texts = bytes_text | tricky_text
tags = st.sampled_from(["''", "'END'", "'$'", "'\"'"])

variables = make(s.Variable, any_names)
numbers = make(s.NumberLit, st.integers(0, 2**70).map(float) | st.floats(0, 1e30, allow_nan=False, allow_infinity=False))
plain_strings = make(s.StringLit, texts)
raw_strings = st.builds(
    lambda text, tag: s.StringLit(NOWHERE, text, tag), texts.map(lambda text: text.replace("'", "")), tags
)
strings = plain_strings | raw_strings


def _interpolated(parts: list[s.Expr]) -> s.Interpolation:
    """Merge neighbouring strings, as the parser does, and have at least one variable."""
    merged: list[s.Expr] = []
    for part in [*parts, s.Variable(NOWHERE, "v")]:
        last = merged[-1] if merged else None
        if isinstance(part, s.StringLit) and isinstance(last, s.StringLit):
            merged[-1] = s.StringLit(NOWHERE, last.value + part.value)
        elif not (isinstance(part, s.StringLit) and not part.value):
            merged.append(part)
    return s.Interpolation(NOWHERE, tuple(merged))


interpolations = st.lists(plain_strings | variables, max_size=4).map(_interpolated)
regexes = make(
    s.RegexLit,
    st.lists(st.sampled_from(["a", "/", "\\d", "\\\\", "[", "'", '"', " "]), min_size=1, max_size=5).map("".join),
    st.sampled_from(["", "i", "imsuxUX"]),
)
leaves = (
    variables
    | numbers
    | strings
    | interpolations
    | regexes
    | make(s.ConstLit, st.sampled_from([True, False, None]))
    | make(s.Name, names)
    | make(s.BuiltinName, names)
    | make(s.StaticMember, names | st.just("static"), any_names, st.booleans())
    | make(s.ArrayLit, st.just(()))
)
BINARY = [
    "??",
    "or",
    "and",
    "==",
    "!=",
    "===",
    "!==",
    "<",
    ">",
    "<=",
    ">=",
    "=~",
    "!~",
    "|",
    "^",
    "&",
    "<<",
    ">>",
    ">>>",
    ".",
    "+",
]
BINARY += ["-", "*", "/", "%", "**"]


def places(inner: Any) -> Any:
    bases = inner
    return (
        variables
        | make(s.Index, bases, inner)
        | make(s.Member, bases, any_names)
        | make(s.Slice, bases, st.none() | inner, st.none() | inner, st.none() | inner)
        | make(s.StaticMember, names, any_names, st.just(True))
    )


def patterns(inner: Any) -> Any:
    target = places(inner) | make(s.Index, variables, st.none())
    target |= make(s.Pattern, items(make(s.PatternItem, st.none(), target, st.none()), 1, 2))
    item = make(s.PatternItem, st.none(), target, st.none() | inner)
    keyed = make(s.PatternItem, inner, target, st.none() | inner)
    rest = make(s.PatternItem, st.none(), places(inner), st.none(), st.just(True))
    return make(s.Pattern, st.builds(lambda first, last: first + last, items(item, 1), items(rest, 0, 1)) | items(keyed, 1))


def expressions(inner: Any) -> Any:
    item = make(s.ArrayItem, st.none() | inner, inner) | make(s.ArrayItem, st.none(), inner, st.just(True))
    arrays = make(s.ArrayLit, items(item))
    argument = make(s.Argument, inner, st.booleans())
    arm = make(s.MatchArm, items(inner, 1), inner)
    default = make(s.MatchArm, st.none(), inner)
    cached = make(s.Call, make(s.Name, names) | make(s.BuiltinName, names) | variables, items(argument))
    assigned = make(s.Assign, st.sampled_from(["=", "+=", "-=", "*=", "/=", "%=", "**=", ".="]), places(inner), inner)
    return (
        arrays
        | make(s.Binary, st.sampled_from(BINARY), inner, inner)
        | make(s.Unary, st.sampled_from(["!", "-", "~"]), inner)
        | make(s.Increment, st.sampled_from(["++", "--"]), inner, st.booleans())
        | make(s.Ternary, inner, st.none() | inner, inner)
        | assigned
        | make(s.Assign, st.just("="), make(s.Index, places(inner), st.none()), inner)
        | make(s.Assign, st.just("="), patterns(inner), inner)
        | make(s.Call, inner, items(argument))
        | places(inner)
        | make(s.Isset, places(inner))
        | make(s.Unset, places(inner))
        | make(s.Yield, st.none() | inner)
        | make(s.Cache, arrays, cached)
        | make(s.Match, inner, st.builds(lambda arms, last: arms + last, items(arm), items(default, 0, 1)))
        | make(s.ObjectLit, arrays)
        | make(s.Function, st.none(), params(inner), items(variables), blocks)
    )


def params(inner: Any) -> Any:
    usual = make(s.Param, any_names, st.none() | inner)
    rest = make(s.Param, any_names, st.none(), st.just(True))
    return st.builds(lambda first, last: first + last, items(usual), items(rest, 0, 1))


blocks: Any = st.deferred(lambda: make(s.Block, items(stmts, 0, 2)))
exprs: Any = st.recursive(leaves, expressions, max_leaves=6)


def _statements() -> Any:
    function = make(s.Function, names, st.none() | params(exprs), st.just(()), blocks)
    function = function.map(lambda f: dataclasses.replace(f, captures=()) if f.params is None else f)
    method = make(s.Function, names | st.just("constructor"), params(exprs), items(variables), blocks)
    members = st.builds(
        lambda m, p, q: s.ClassMember(NOWHERE, m.name, m, None, p, q), method, st.booleans(), st.booleans()
    ) | make(s.ClassMember, any_names, st.none(), st.none() | exprs, st.booleans(), st.booleans(), st.booleans())
    symbols = names.flatmap(lambda n: make(s.ImportSymbol, st.just(n), names, st.just(False)))
    symbols |= make(s.ImportSymbol, any_names, any_names, st.just(True))
    simple = (
        make(s.ExprStmt, exprs)
        | make(s.EchoStmt, exprs)
        | make(s.ReturnStmt, st.none() | exprs)
        | make(s.BreakStmt)
        | make(s.ContinueStmt)
        | make(s.ThrowStmt, exprs)
        | make(s.EmptyStmt)
    )
    body = blocks | simple
    some = items(make(s.Block, items(simple, 0, 2)) | simple, 0, 2)
    case = make(s.SwitchCase, exprs, st.just(False), some)
    otherwise = make(s.SwitchCase, st.none(), st.just(True), some)
    return (
        simple
        | blocks
        | make(s.IfStmt, items(st.tuples(exprs, body), 1), st.none() | body)
        | make(s.WhileStmt, st.none() | exprs, body)
        | make(s.ForStmt, items(exprs), st.none() | exprs, items(exprs), body)
        | make(s.ForeachStmt, exprs, st.none() | variables, variables, body)
        | make(
            s.SwitchStmt, exprs, some, st.builds(lambda a, b, c: a + b + c, items(case), items(otherwise, 0, 1), items(case))
        )
        | make(s.TryStmt, blocks, variables, blocks)
        | make(s.GlobalStmt, items(variables, 1))
        | make(s.IncludeStmt, strings, st.booleans())
        | make(s.ImportStmt, items(symbols, 1), strings)
        | make(s.ImportAllStmt, names, strings)
        | make(s.ImportDataStmt, variables, strings, st.none() | make(s.ArrayLit, items(make(s.ArrayItem, exprs, exprs))))
        | make(s.BarrierStmt, exprs, st.none() | variables, blocks)
        | make(s.FunctionStmt, function)
        | make(s.ClassStmt, names, st.just(NOWHERE), items(members))
    )


stmts: Any = st.deferred(_statements)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(items(stmts, 1, 3), st.sampled_from([None, "    "]))
@example((s.ExprStmt(NOWHERE, s.Unary(NOWHERE, "-", s.Increment(NOWHERE, "--", s.Variable(NOWHERE, "a"), True))),), None)
def test_any_program_survives_printing_and_parsing(body: tuple[s.Stmt, ...], indent: str | None) -> None:
    text = format_script(s.Script(NOWHERE, body), indent)
    parsed, found = parse(Source("printed", text))
    assert parsed is not None, text + "\n" + render_all(found)
    assert bare(parsed.body) == bare(body), text
    assert format_script(parsed, indent) == text


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(list("$af(){}[];:,.=+-*/%!?<>&|'\"\\# \n019")), max_size=40) | bytes_text)
def test_no_text_breaks_the_parser(text: str) -> None:
    parsed, found = parse(Source("any", text))
    assert (parsed is None) == bool(found)
    render_all(found)
    if parsed is not None:
        again, _ = parse(Source("printed", format_script(parsed)))
        assert again is not None
        assert bare(again.body) == bare(parsed.body)
