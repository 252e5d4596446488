"""Operators become Python's where the types are known or tested, else calls of `operators`.

In: resolved operators, static types. Out: `ast` expressions. A value that is needed twice goes through a temporary.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

from hslpy.lang import resolved as r
from hslpy.lang.compile.expressions import Expressions
from hslpy.lang.compile.types import ARR, BOOL, INT, NUMBER, STR
from hslpy.lang.runtime import LONG_TEXT

_KIND_OF = {STR: "str", NUMBER: "float", BOOL: "bool", ARR: "Array"}
_LONG_CHAIN = 30  # links after which a chain of operators goes through a temporary: Python's compiler recurses

# name in operators, whether it wants the run
_SLOW = {
    "+": ("add", True),
    "-": ("subtract", True),
    "+?": ("add_or_join", True),
    "*": ("multiply", True),
    "*?": ("multiply_numbers", True),
    "/": ("divide", False),
    "%": ("modulo", True),
    "%?": ("modulo_numbers", True),
    "**": ("power", False),
    "&": ("bit_and", False),
    "|": ("bit_or", False),
    "^": ("bit_xor", False),
    "<<": ("shift_left", False),
    ">>": ("shift_right", False),
    ">>>": ("shift_right_unsigned", False),
}


def constant(node: r.Expr) -> bool:
    """Say whether it is written in the source, and so no long text that takes time to compare."""
    return isinstance(node, r.Const)


class Arithmetic(Expressions):
    """Adds operators to the expressions of a unit's compiler."""

    def unary(self, node: r.UnaryOp) -> ast.expr:
        b = self.b
        if node.op in ("!", "not"):
            return b.no(self.test(node.operand))
        if node.op == "~":
            return b.call("bit_not", self.value(node.operand))
        if isinstance(node.operand, r.Const) and isinstance(node.operand.value, float):
            return b.const(-node.operand.value)
        if self.types.of(node.operand) & ~NUMBER == 0:
            return b.minus(self.value(node.operand))
        return b.call("negate", self.value(node.operand))

    def binary_chain(self, node: r.BinaryOp) -> ast.expr:
        """Compile a chain of operators from its leftmost operand on; a long one through temporaries."""
        links: list[r.BinaryOp] = [node]
        while isinstance(links[-1].left, r.BinaryOp):
            links.append(links[-1].left)
        if len(links) <= _LONG_CHAIN:
            return self.binary(node)
        b = self.b
        steps: list[ast.expr] = []
        name = self.keep()
        steps.append(b.walrus(name, self.value(links[-1].left)))
        kind = self.types.of(links[-1].left)
        for link in reversed(links):
            held = r.Held(link.span, name, kind)
            kind = self.types.of_operation(link.op, kind, self.types.of(link.right))
            steps.append(b.walrus(name, self.binary(r.BinaryOp(link.span, link.op, held, link.right))))
        return b.last_of(steps)

    def binary(self, node: r.BinaryOp) -> ast.expr:
        op = node.op
        if op in ("==", "!=", "===", "!=="):
            return self.equality(op, node.left, node.right)
        if op in ("<", ">", "<=", ">="):
            return self.order(op, node.left, node.right)
        if op in ("=~", "!~"):
            found = self.match(node.left, node.right)
            return found if op == "=~" else self.b.no(found)
        return self.arithmetic(op, node.left, node.right)

    def match(self, subject: r.Expr, pattern: r.Expr) -> ast.expr:
        """Compile `=~`; a constant pattern on a short subject is searched for at once."""
        b = self.b
        constant: tuple[str, str | None] | None = None
        if isinstance(pattern, r.RegexConst):
            constant = (pattern.pattern, pattern.modifiers)
        elif isinstance(pattern, r.Const) and isinstance(pattern.value, str):
            constant = (pattern.value, None)
        if constant is None:
            return b.call("matched", self.run(), self.value(subject), self.value(pattern))
        first, again = self.operand(subject)
        slow = b.call("matched", self.run(), again, self.value(pattern))
        if not self.types.of(subject) & STR:
            return b.call("matched", self.run(), first, self.value(pattern))
        below = b.name(self.context.link("below", constant))
        known = self.types.of(subject) == STR
        short = b.compare(b.call("len", first if known else again), "<", below)
        found = b.compare(b.call(b.name(self.context.link("search", constant)), again), "is not", b.const(None))
        return b.choose(short if known else b.all_of([b.is_kind(first, "str"), short]), found, slow)

    def arithmetic(self, op: str, left: r.Expr, right: r.Expr) -> ast.expr:
        b = self.b
        slow_name, wants_run = _SLOW[op]

        def slow(x: ast.expr, y: ast.expr) -> ast.expr:
            return b.call(slow_name, *([self.run()] if wants_run else []), x, y)

        op = op.removesuffix("?")
        if op in ("+", "-", "*", "/"):
            if op == "/" and isinstance(right, r.Const) and right.value == 0:
                return slow(self.value(left), self.value(right))
            return self.guarded(left, right, NUMBER, lambda x, y: b.binary(op, x, y), slow)
        if op == "%" and self.types.of(left) & ~NUMBER == 0 and self.types.of(right) & ~NUMBER == 0:
            if isinstance(right, r.Const) and isinstance(right.value, float) and 1 <= right.value < math.inf:
                x, x_again = self.operand(left)
                inside = b.compare(x, ">=", b.const(0.0))
                rest = b.binary("%", self.whole(left, x_again), b.const(right.value // 1.0))
                return b.choose(inside, rest, slow(x_again, b.const(right.value)))
            x, x_again = self.operand(left, self.is_stable(left, right))
            y, y_again = self.operand(right)
            finite = b.compare(b.const(math.inf), ">", y, ">=", b.const(1.0))
            inside = b.binary("&", b.compare(x, ">=", b.const(0.0)), finite)
            return b.choose(
                inside, b.binary("%", self.whole(left, x_again), self.whole(right, y_again)), slow(x_again, y_again)
            )
        return slow(self.value(left), self.value(right))

    def whole(self, node: r.Expr, value: ast.expr) -> ast.expr:
        """Give a number of 0 or more without its fraction."""
        return value if self.types.of(node) == INT else self.b.binary("//", value, self.b.const(1.0))

    def guarded(
        self,
        left: r.Expr,
        right: r.Expr,
        bits: int,
        fast: Callable[[ast.expr, ast.expr], ast.expr],
        slow: Callable[[ast.expr, ast.expr], ast.expr],
    ) -> ast.expr:
        """Give `fast` where both operands are of the kind `bits`, known before or tested, else `slow`."""
        b = self.b
        lt, rt = self.types.of(left), self.types.of(right)
        if not lt & bits or not rt & bits:
            return slow(self.value(left), self.value(right))
        if not lt & ~bits and not rt & ~bits:
            return fast(self.value(left), self.value(right))
        kind = _KIND_OF[bits]
        x, x_again = self.operand(left, self.is_stable(left, right))
        y, y_again = self.operand(right)
        if y is y_again:  # a plain right operand
            if lt & ~bits:
                test = b.is_kind(x, kind)
                if rt & ~bits:
                    test = b.compare(b.attr(x, "__class__"), "is", b.name(kind), "is", b.attr(y, "__class__"))
                return b.choose(test, fast(x_again, y), slow(x_again, y))
            if x is not x_again:  # only a test of the right one is wanted, but the left comes first
                test = b.binary("&", b.is_kind(x, kind), b.is_kind(y, kind))
            else:
                test = b.is_kind(y, kind)
        elif x is x_again:  # a plain left operand that the right one leaves alone
            test = b.is_kind(y, kind)
            if lt & ~bits:
                test = b.compare(b.attr(y, "__class__"), "is", b.name(kind), "is", b.attr(x, "__class__"))
        else:
            test = b.binary("&", b.is_kind(x, kind), b.is_kind(y, kind))
        return b.choose(test, fast(x_again, y_again), slow(x_again, y_again))

    def order(self, op: str, left: r.Expr, right: r.Expr) -> ast.expr:
        b = self.b

        def slow(x: ast.expr, y: ast.expr) -> ast.expr:
            if op in (">", ">="):
                x, y = y, x
            return b.call("less" if op in ("<", ">") else "less_equal", self.run(), x, y, b.const(op))

        if self.types.of(left) == STR == self.types.of(right) and (constant(left) or constant(right)):
            return b.compare(self.value(left), op, self.value(right))
        if op in (">", ">=") and not (self.types.of(left) & NUMBER and self.types.of(right) & NUMBER):
            x, x_again = self.operand(left, False)
            y, y_again = self.operand(right, False)
            return b.last_of([x, y, slow(x_again, y_again)])
        return self.guarded(left, right, NUMBER, lambda x, y: b.compare(x, op, y), slow)

    def equality(self, op: str, left: r.Expr, right: r.Expr) -> ast.expr:
        b = self.b
        strict = op in ("===", "!==")
        negated = op in ("!=", "!==")
        if isinstance(left, r.Const) and not isinstance(right, r.Const):
            left, right = right, left  # a constant has no effects, so the order is free
        lt, rt = self.types.of(left), self.types.of(right)
        if isinstance(right, r.Const) and right.value is False and lt and not lt & ~(BOOL | (0 if strict else NUMBER)):
            if not negated:
                return b.no(self.test(left))
            if lt == BOOL:
                return self.value(left)
        # a boolean against a number compares as 0 or 1, in Python as in HSL
        for bits in (STR, NUMBER, BOOL) if strict else (STR, NUMBER | BOOL):
            if lt and rt and not lt & ~bits and not rt & ~bits and (bits != STR or constant(right)):
                return b.compare(self.value(left), "!=" if negated else "==", self.value(right))
        if isinstance(right, r.Const) and (right.value is None or (strict and isinstance(right.value, bool))):
            return b.compare(self.value(left), "is not" if negated else "is", b.const(right.value))

        def slow(x: ast.expr, y: ast.expr) -> ast.expr:
            return b.call("identical" if strict else "loose_equal", self.run(), x, y)

        bits = STR
        if isinstance(right, r.Const):
            bits = BOOL if isinstance(right.value, bool) else NUMBER if isinstance(right.value, float) else STR
        elif not lt & STR or not rt & STR:
            bits = NUMBER

        def fast(x: ast.expr, y: ast.expr) -> ast.expr:
            same = b.compare(x, "is" if bits == BOOL else "==", y)
            if bits != STR or constant(right):
                return same
            return b.choose(b.compare(b.call("len", x), "<", b.const(LONG_TEXT)), same, slow(x, y))

        if lt == STR == rt and not constant(right):
            x, x_again = self.operand(left, self.is_stable(left, right))
            y, y_again = self.operand(right)
            short = b.compare(b.call("len", x), "<", b.const(LONG_TEXT))
            if y is y_again:
                result = b.choose(short, b.compare(x_again, "==", y), slow(x_again, y))
            else:  # both come before the choice
                result = b.last_of(
                    [
                        x,
                        y,
                        b.choose(
                            b.compare(b.call("len", x_again), "<", b.const(LONG_TEXT)),
                            b.compare(x_again, "==", y_again),
                            slow(x_again, y_again),
                        ),
                    ]
                )
        else:
            result = self.guarded(left, right, bits, fast, slow)
        return b.no(result) if negated else result
