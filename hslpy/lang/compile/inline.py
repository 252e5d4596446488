"""Python expressions that stand for calls of builtins: a row's `inline` texts become `ast` expressions.

In: the text, the argument, and what makes the call itself. Out: an expression that evaluates the argument once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from typing import Any

from hslpy.lang.compile.pyast import Builder


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def inlined(
    b: Builder,
    text: str,
    parameter: str,
    argument: ast.expr,
    temp: Callable[[], str],
    call: Callable[[ast.expr], ast.expr],
) -> ast.expr:
    """Give the expression of `text` at the builder's line, with the argument in place of the parameter."""
    tree = _parsed(text)
    uses = sum(_is_use(node, parameter) for node in ast.walk(tree))
    first: ast.expr = argument
    again = argument
    if uses > 1 and not isinstance(argument, (ast.Name, ast.Constant)):
        name = temp()
        first, again = b.walrus(name, argument), b.name(name)
    return _Copy(b, parameter, first, again, call).visit(tree)  # type: ignore[no-any-return]


def _is_use(node: ast.AST, parameter: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == parameter) or (isinstance(node, ast.Constant) and node.value is ...)


class _Copy(ast.NodeTransformer):
    """Copies a tree. Fields of `ast` nodes stand in the order of evaluation, so the first use met is the first made."""

    def __init__(
        self, b: Builder, parameter: str, first: ast.expr, again: ast.expr, call: Callable[[ast.expr], ast.expr]
    ) -> None:
        self.b = b
        self.parameter = parameter
        self.value = first
        self.again = again
        self.call = call

    def take(self) -> ast.expr:
        value, self.value = self.value, self.again
        return value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.take() if node.id == self.parameter else self.b.name(node.id)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self.call(self.take()) if node.value is ... else self.b.const(node.value)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, ast.expr):
            return node  # operators and contexts, which all trees share
        found: dict[str, Any] = {}
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                found[name] = [self.visit(one) for one in value]
            else:
                found[name] = self.visit(value) if isinstance(value, ast.AST) else value
        return type(node)(**found, **self.b.at())
