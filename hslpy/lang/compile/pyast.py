"""Short ways to make Python `ast` nodes, each at the line that stands for its place in the script.

In: the current line (an index into the program's spans). Out: `ast` nodes. Script text only ever enters as a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

_LOAD, _STORE = ast.Load(), ast.Store()
_OPS: dict[str, ast.operator] = {"+": ast.Add(), "-": ast.Sub(), "*": ast.Mult(), "/": ast.Div(), "%": ast.Mod()}
_OPS |= {"//": ast.FloorDiv(), "&": ast.BitAnd()}
_COMPARISONS: dict[str, ast.cmpop] = {
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
    "==": ast.Eq(),
    "!=": ast.NotEq(),
    "is": ast.Is(),
    "is not": ast.IsNot(),
    "in": ast.In(),
}
_NOT, _USUB, _AND, _OR = ast.Not(), ast.USub(), ast.And(), ast.Or()


class Builder:
    """Makes nodes at `line`."""

    def __init__(self) -> None:
        self.line = 1
        self.used: set[str] = set()  # all names read

    def at(self) -> dict[str, Any]:
        return {"lineno": self.line, "col_offset": 0, "end_lineno": self.line, "end_col_offset": 0}

    # expressions

    def const(self, value: Any) -> ast.expr:
        return ast.Constant(value, **self.at())

    def name(self, name: str) -> ast.expr:
        self.used.add(name)
        return ast.Name(name, _LOAD, **self.at())

    def attr(self, base: ast.expr, name: str) -> ast.expr:
        return ast.Attribute(base, name, _LOAD, **self.at())

    def call(self, function: str | ast.expr, *args: ast.expr) -> ast.expr:
        target = self.name(function) if isinstance(function, str) else function
        return ast.Call(target, list(args), [], **self.at())

    def starred(self, value: ast.expr) -> ast.expr:
        return ast.Starred(value, _LOAD, **self.at())

    def binary(self, op: str, left: ast.expr, right: ast.expr) -> ast.expr:
        return ast.BinOp(left, _OPS[op], right, **self.at())

    def compare(self, left: ast.expr, *links: str | ast.expr) -> ast.expr:
        """`compare(a, "is", b, "is", c)`."""
        ops = [_COMPARISONS[link] for link in links[::2] if isinstance(link, str)]
        others = [link for link in links[1::2] if isinstance(link, ast.expr)]
        return ast.Compare(left, ops, others, **self.at())

    def no(self, value: ast.expr) -> ast.expr:
        return ast.UnaryOp(_NOT, value, **self.at())

    def minus(self, value: ast.expr) -> ast.expr:
        return ast.UnaryOp(_USUB, value, **self.at())

    def all_of(self, values: Sequence[ast.expr]) -> ast.expr:
        return ast.BoolOp(_AND, list(values), **self.at()) if len(values) > 1 else values[0]

    def any_of(self, values: Sequence[ast.expr]) -> ast.expr:
        return ast.BoolOp(_OR, list(values), **self.at()) if len(values) > 1 else values[0]

    def choose(self, test: ast.expr, then: ast.expr, otherwise: ast.expr) -> ast.expr:
        return ast.IfExp(test, then, otherwise, **self.at())

    def walrus(self, name: str, value: ast.expr) -> ast.expr:
        return ast.NamedExpr(ast.Name(name, _STORE, **self.at()), value, **self.at())

    def yielded(self, value: ast.expr) -> ast.expr:
        return ast.Yield(value, **self.at())

    def tuple_(self, values: Sequence[ast.expr]) -> ast.expr:
        return ast.Tuple(list(values), _LOAD, **self.at())

    def last_of(self, values: Sequence[ast.expr]) -> ast.expr:
        """Evaluate all in order and give the last."""
        return self.subscript(self.tuple_(values), self.const(-1)) if len(values) > 1 else values[0]

    def dict_(self, keys: Sequence[ast.expr], values: Sequence[ast.expr]) -> ast.expr:
        return ast.Dict(list(keys), list(values), **self.at())

    def subscript(self, base: ast.expr, key: ast.expr) -> ast.expr:
        return ast.Subscript(base, key, _LOAD, **self.at())

    def slice_(self, first: ast.expr | None, last: ast.expr | None) -> ast.expr:
        return ast.Slice(first, last, None, **self.at())

    def joined(self, parts: Sequence[ast.expr]) -> ast.expr:
        """An f-string of parts that are all str."""
        values: list[ast.expr] = [
            part if isinstance(part, ast.Constant) else ast.FormattedValue(part, -1, None, **self.at()) for part in parts
        ]
        return ast.JoinedStr(values, **self.at())

    def is_kind(self, value: ast.expr, kind: str) -> ast.expr:
        """`value.__class__ is kind`."""
        return self.compare(self.attr(value, "__class__"), "is", self.name(kind))

    # statements

    def do(self, value: ast.expr) -> ast.stmt:
        return ast.Expr(value, **self.at())

    def set_(self, name: str, value: ast.expr) -> ast.stmt:
        return ast.Assign([ast.Name(name, _STORE, **self.at())], value, **self.at())

    def set_attr(self, base: ast.expr, name: str, value: ast.expr) -> ast.stmt:
        return ast.Assign([ast.Attribute(base, name, _STORE, **self.at())], value, **self.at())

    def set_item(self, base: ast.expr, key: ast.expr, value: ast.expr) -> ast.stmt:
        return ast.Assign([ast.Subscript(base, key, _STORE, **self.at())], value, **self.at())

    def add_to(self, name: str, value: ast.expr, op: str = "+") -> ast.stmt:
        return ast.AugAssign(ast.Name(name, _STORE, **self.at()), _OPS[op], value, **self.at())

    def add_to_attr(self, base: ast.expr, name: str, value: ast.expr) -> ast.stmt:
        return ast.AugAssign(ast.Attribute(base, name, _STORE, **self.at()), _OPS["+"], value, **self.at())

    def when(self, test: ast.expr, then: Sequence[ast.stmt], otherwise: Sequence[ast.stmt] = ()) -> ast.stmt:
        return ast.If(test, list(then) or [self.nothing()], list(otherwise), **self.at())

    def loop(self, test: ast.expr, body: Sequence[ast.stmt]) -> ast.stmt:
        return ast.While(test, list(body) or [self.nothing()], [], **self.at())

    def each(self, names: Sequence[str], source: ast.expr, body: Sequence[ast.stmt]) -> ast.stmt:
        targets: list[ast.expr] = [ast.Name(name, _STORE, **self.at()) for name in names]
        target = targets[0] if len(targets) == 1 else ast.Tuple(targets, _STORE, **self.at())
        return ast.For(target, source, list(body) or [self.nothing()], [], None, **self.at())

    def nothing(self) -> ast.stmt:
        return ast.Pass(**self.at())

    def leave(self) -> ast.stmt:
        return ast.Break(**self.at())

    def again(self) -> ast.stmt:
        return ast.Continue(**self.at())

    def give(self, value: ast.expr | None) -> ast.stmt:
        return ast.Return(value, **self.at())

    def fail(self, error: ast.expr) -> ast.stmt:
        return ast.Raise(error, None, **self.at())

    def attempt(self, body: Sequence[ast.stmt], kinds: str, name: str, handler: Sequence[ast.stmt]) -> ast.stmt:
        catch = ast.ExceptHandler(self.name(kinds), name, list(handler) or [self.nothing()], **self.at())
        return ast.Try(list(body) or [self.nothing()], [catch], [], [], **self.at())

    def at_last(self, body: Sequence[ast.stmt], ending: Sequence[ast.stmt]) -> ast.stmt:
        """`ending` runs after the body, whatever ends it."""
        return ast.Try(list(body) or [self.nothing()], [], [], list(ending), **self.at())

    def nonlocal_(self, names: Sequence[str]) -> ast.stmt:
        return ast.Nonlocal(list(names), **self.at())

    def function(
        self,
        name: str,
        params: Sequence[tuple[str, ast.expr | None]],
        rest: str | None,
        body: Sequence[ast.stmt],
    ) -> ast.stmt:
        args = [ast.arg(param, None, **self.at()) for param, _ in params]
        defaults = [default for _, default in params if default is not None]
        vararg = ast.arg(rest, None, **self.at()) if rest is not None else None
        arguments = ast.arguments([], args, vararg, [], [], None, defaults)
        return ast.FunctionDef(name, arguments, list(body) or [self.nothing()], [], None, **self.at())
