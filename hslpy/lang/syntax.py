"""The syntax nodes: what was written, as frozen dataclasses. In: nothing. Out: the classes.

A node never holds what a later stage found out; a resolved program is a tree of its own (`resolved.py`).
A grammar rule, its class here and its method in the visitors share one name: `foreach_stmt`, `ForeachStmt`.
Visitors are closed: meeting a class they don't know, they raise.
"""

from __future__ import annotations

from hslpy.lang.source import Span
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    span: Span


class Expr(Node):
    __slots__ = ()


class Stmt(Node):
    __slots__ = ()


# ---- expressions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumberLit(Expr):
    value: float


@dataclass(frozen=True, slots=True)
class StringLit(Expr):
    """A string without interpolation, or a part of one. `quote` is `"` or the raw delimiter's tag form `''`.

    `bad_escapes` are the spans of unknown escapes (kept as written; the checker warns).
    """

    value: str
    quote: str = '"'
    bad_escapes: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Interpolation(Expr):
    """A double-quoted string with variables in it: `parts` are StringLit and Variable nodes in order."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class RegexLit(Expr):
    pattern: str
    modifiers: str


@dataclass(frozen=True, slots=True)
class ConstLit(Expr):
    """`true`, `false` or `none`: `value` is the Python True, False or None."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class Variable(Expr):
    """`$name`, without its dollar. `this` is the variable of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Expr):
    """A bare identifier used as a value: a function, a class or a builtin."""

    name: str


@dataclass(frozen=True, slots=True)
class BuiltinName(Expr):
    """`builtin name`."""

    name: str


@dataclass(frozen=True, slots=True)
class ArrayItem(Node):
    """`value`, `key => value`, or `...value` (`spread`)."""

    key: Expr | None
    value: Expr
    spread: bool = False


@dataclass(frozen=True, slots=True)
class ArrayLit(Expr):
    items: tuple[ArrayItem, ...]


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """Prefix `!` (also written `not`), `-`, `~`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """A binary operator, `and`, `or` and `??` included: `op` as written."""

    op: str
    left: Expr
    right: Expr
    op_span: Span


@dataclass(frozen=True, slots=True)
class Ternary(Expr):
    """`condition ? then : otherwise`; `then` is None in `a ?: b`."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Assign(Expr):
    """`target op value`, `op` one of `= += -= *= /= %= **= .=`; a target may be a Pattern when `op` is `=`."""

    op: str
    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class PatternItem(Node):
    """One place of a destructuring: `key` for keyed patterns, `default` when the item is missing, `rest` for `...$x`."""

    key: Expr | None
    target: Expr
    default: Expr | None = None
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Pattern(Expr):
    """The left side of a destructuring assignment; an item's target may be a Pattern itself."""

    items: tuple[PatternItem, ...]


@dataclass(frozen=True, slots=True)
class Increment(Expr):
    """`++x`, `--x` (`prefix`), `x++`, `x--`."""

    op: str
    target: Expr
    prefix: bool


@dataclass(frozen=True, slots=True)
class Argument(Node):
    value: Expr
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """`function(arguments)`; the function is any expression, a Name, BuiltinName, Member or StaticMember among them."""

    function: Expr
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """`base[index]`; `index` is None in the append form `base[]`."""

    base: Expr
    index: Expr | None


@dataclass(frozen=True, slots=True)
class Slice(Expr):
    base: Expr
    first: Expr | None
    last: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True)
class Member(Expr):
    """`base->name`."""

    base: Expr
    name: str


@dataclass(frozen=True, slots=True)
class StaticMember(Expr):
    """`Class::name` or `Class::$name` (`is_variable`); `class_name` may be `static`, a wildcard import's name, or
    that name and a class of the module, `space::Class`."""

    class_name: str
    name: str
    is_variable: bool


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: str
    default: Expr | None = None
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Function(Expr):
    """A function: named statement, method, constructor or anonymous value (`name` None).

    `captures` are the Variables of `closure (...)`. `params` is None in the old form `function f { }`.
    """

    name: str | None
    params: tuple[Param, ...] | None
    captures: tuple[Variable, ...]
    body: Block
    name_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Isset(Expr):
    target: Expr


@dataclass(frozen=True, slots=True)
class Unset(Expr):
    target: Expr


@dataclass(frozen=True, slots=True)
class Yield(Expr):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Cache(Expr):
    """`cache [options] [builtin] name(args)`."""

    options: Expr
    call: Expr


@dataclass(frozen=True, slots=True)
class MatchArm(Node):
    """`candidates => value`; `candidates` is None in the default arm."""

    candidates: tuple[Expr, ...] | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Match(Expr):
    subject: Expr
    arms: tuple[MatchArm, ...]


@dataclass(frozen=True, slots=True)
class ObjectLit(Expr):
    """`object [...]` of 3.5 to 4.1."""

    items: Expr


# ---- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block(Stmt):
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class EmptyStmt(Stmt):
    pass


@dataclass(frozen=True, slots=True)
class ExprStmt(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class EchoStmt(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class IfStmt(Stmt):
    """An if with its else-ifs flattened: `branches` are (condition, body) pairs in order."""

    branches: tuple[tuple[Expr, Stmt], ...]
    otherwise: Stmt | None


@dataclass(frozen=True, slots=True)
class WhileStmt(Stmt):
    """`while`, and `forever` with the condition None."""

    condition: Expr | None
    body: Stmt


@dataclass(frozen=True, slots=True)
class ForStmt(Stmt):
    start: tuple[Expr, ...]
    condition: Expr | None
    step: tuple[Expr, ...]
    body: Stmt


@dataclass(frozen=True, slots=True)
class ForeachStmt(Stmt):
    subject: Expr
    key: Variable | None
    value: Variable
    body: Stmt


@dataclass(frozen=True, slots=True)
class SwitchCase(Node):
    """The label `case test:` or `default:` (`test` None) and the statements up to the next label."""

    test: Expr | None
    is_default: bool
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class SwitchStmt(Stmt):
    """`before` are statements ahead of the first label: they never run (the checker warns)."""

    subject: Expr
    before: tuple[Stmt, ...]
    cases: tuple[SwitchCase, ...]


@dataclass(frozen=True, slots=True)
class BreakStmt(Stmt):
    pass


@dataclass(frozen=True, slots=True)
class ContinueStmt(Stmt):
    pass


@dataclass(frozen=True, slots=True)
class ReturnStmt(Stmt):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class TryStmt(Stmt):
    body: Block
    variable: Variable
    handler: Block


@dataclass(frozen=True, slots=True)
class ThrowStmt(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class GlobalStmt(Stmt):
    variables: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class IncludeStmt(Stmt):
    """`include "path";` or `include_once` (`once`)."""

    path: StringLit
    once: bool


@dataclass(frozen=True, slots=True)
class ImportSymbol(Node):
    """`name [as alias]`; `is_variable` for `$name`."""

    name: str
    alias: str
    is_variable: bool


@dataclass(frozen=True, slots=True)
class ImportStmt(Stmt):
    """`import { a, $b as $c } from "m";`"""

    symbols: tuple[ImportSymbol, ...]
    path: StringLit


@dataclass(frozen=True, slots=True)
class ImportAllStmt(Stmt):
    """`import * as name from "m";`"""

    name: str
    path: StringLit


@dataclass(frozen=True, slots=True)
class ImportDataStmt(Stmt):
    """`import $v from "data.json" [with [...]];`"""

    variable: Variable
    path: StringLit
    options: Expr | None


@dataclass(frozen=True, slots=True)
class BarrierStmt(Stmt):
    """`barrier name [=> $shared] { }`."""

    name: Expr
    shared: Variable | None
    body: Block


@dataclass(frozen=True, slots=True)
class FunctionStmt(Stmt):
    function: Function


@dataclass(frozen=True, slots=True)
class ClassMember(Node):
    """A method (`function`), or a field (`name`, `value`). The constructor is the method named `constructor`."""

    name: str
    function: Function | None
    value: Expr | None
    is_private: bool = False
    is_static: bool = False
    is_readonly: bool = False


@dataclass(frozen=True, slots=True)
class ClassStmt(Stmt):
    name: str
    name_span: Span
    members: tuple[ClassMember, ...]


@dataclass(frozen=True, slots=True)
class Script(Node):
    """A whole file."""

    body: tuple[Stmt, ...]
