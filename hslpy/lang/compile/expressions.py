"""Expressions become Python expressions, fast paths inline, all else calls of `operators` and `runtime`.

In: resolved expressions, static types, what is surely assigned. Out: `ast` expressions. Operands are evaluated once and
left to right; a value that is needed twice goes through a temporary, unless it is a constant or a plain variable.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile import types as ty
from hslpy.lang.compile.context import Context, builtin_key
from hslpy.lang.compile.types import ARR, BOOL, FUN, INT, NONE, NUMBER, OBJ, STR, walk
from hslpy.lang.conversions import format_number, normalise_key
from hslpy.lang.declare import Builtin
from hslpy.lang.runtime import LONG_TEXT

_KIND_OF = {STR: "str", NUMBER: "float", BOOL: "bool", ARR: "Array"}
_UNBOUNDED = STR | ARR | FUN | OBJ | ty.OTHER | NONE  # types whose text may be long
_MANY_PARTS = 8  # parts of a text up to which it is put together inline
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


class Expressions:
    """The expression half of a unit's compiler. `assigned` are the variables that surely have a value here."""

    context: Context
    unit: r.Unit

    def __init__(self, context: Context, unit: r.Unit) -> None:
        self.context = context
        self.unit = unit
        self.b = context.b
        self.types = context.types
        self.assigned = {}
        self.stores: set[r.Var] = set()
        self._temps = 0
        self._kept = 0

    # ---- helpers ---------------------------------------------------------------------------------

    def temp(self) -> str:
        """Give a temporary for use within the statement at hand."""
        self._temps += 1
        return f"t{self._temps}"

    def keep(self) -> str:
        """Give a temporary of its own, to be kept over inner statements."""
        self._kept += 1
        return f"k{self._kept}"

    def run(self) -> ast.expr:
        return self.b.name("run")

    def inside(self, class_def: r.ClassDef | None) -> ast.expr:
        return self.b.const(class_def.id if class_def is not None else -1)

    @property
    def assigned(self) -> ty.Flow:
        return self._assigned

    @assigned.setter
    def assigned(self, flow: ty.Flow) -> None:
        self._assigned = self.types.flow = flow

    def widen(self, nodes: Iterable[object]) -> None:
        """Forget the special types of variables that the nodes assign somewhere within."""
        for var, adds in ty.changed_by(nodes):
            if not adds:
                ty.forget(self.assigned, var)
            if var in self.assigned:
                self.assigned[var] = None

    def is_sure(self, var: r.Var) -> bool:
        return var in self.assigned

    def is_plain(self, node: r.Expr) -> bool:
        """Say whether evaluating `node` is loading a name or a constant, so that it may be done twice."""
        if isinstance(node, (r.Const, r.Held)):
            return True
        return isinstance(node, r.Read) and (not node.var.is_probed or self.is_sure(node.var))

    def is_stable(self, node: r.Expr, over: r.Expr) -> bool:
        """Say whether a plain operand keeps its value while `over` is evaluated."""
        if isinstance(node, (r.Const, r.Held)):
            return True
        if not isinstance(node, r.Read) or node.var.is_captured:
            return False
        return not any(isinstance(part, (r.AssignTo, r.Step, r.UnsetOf)) for part in walk([over]))

    def operand(self, node: r.Expr, plain: bool = True) -> tuple[ast.expr, ast.expr]:
        """Give what evaluates the operand first, and what gives its value again."""
        if plain and self.is_plain(node):
            value = self.value(node)
            return value, value
        name = self.temp()
        return self.b.walrus(name, self.value(node)), self.b.name(name)

    def conditionally(self, make: Callable[[], ast.expr]) -> ast.expr:
        """Compile a part that may not be evaluated: what it assigns is not sure afterwards."""
        before = dict(self.assigned)
        result = make()
        self.assigned = ty.meet([before, self.assigned])
        return result

    # ---- entry points ----------------------------------------------------------------------------

    def value(self, node: r.Expr) -> ast.expr:
        """Give the expression's value."""
        saved = self.b.line
        self.b.line = self.context.line_of(node.span)
        result = self._value(node)
        self.b.line = saved
        return result

    def test(self, node: r.Expr) -> ast.expr:
        """Give something with the truth of the expression: Python's truth of our values is HSL's."""
        if isinstance(node, r.Logic):
            operands = [self.test(node.operands[0])]
            operands += [self.conditionally(lambda part=part: self.test(part)) for part in node.operands[1:]]  # type: ignore[misc]
            return self._fold_tests(node.op, operands)
        if isinstance(node, r.UnaryOp) and node.op in ("!", "not"):
            return self.b.no(self.test(node.operand))
        if isinstance(node, r.Convert) and node.to == "numbers":
            return self.test(node.value)
        if self.types.of(node) == ARR:
            return self.b.attr(self.value(node), "items")
        return self.value(node)

    def _fold_tests(self, op: str, operands: list[ast.expr]) -> ast.expr:
        return self.b.all_of(operands) if op == "and" else self.b.any_of(operands)

    def borrowed(self, node: r.Expr) -> ast.expr:
        """Give the value for somebody who only reads it: a constant array is made once, for all runs."""
        pairs = ty.constant_array(node)
        return self.value(node) if pairs is None else self.b.name(self.context.link("array", pairs))

    def owned(self, node: r.Expr) -> ast.expr:
        """Give the value as a new owner may keep it: arrays that another place holds are shared."""
        if not self.types.of(node) & ARR or self.is_fresh(node):
            return self.value(node)
        return self.shared(node)

    def shared(self, node: r.Expr) -> ast.expr:
        first, again = self.operand(node)
        share = self.b.call(self.b.attr(again, "share"))
        if self.types.of(node) == ARR:
            return self.b.call(self.b.attr(first, "share"))
        return self.b.choose(self.b.is_kind(first, "Array"), share, again)

    def is_fresh(self, node: r.Expr) -> bool:
        """Say whether nobody else holds the value. Calls give fresh values: functions own what they return."""
        match node:
            case r.Read() | r.Fact() | r.Element() | r.AssignTo() | r.Held():
                return False
            case r.Conditional():
                return self.is_fresh(node.then or node.condition) and self.is_fresh(node.otherwise)
            case r.Coalesce():
                return self.is_fresh(node.left) and self.is_fresh(node.right)
            case r.Convert():
                return self.is_fresh(node.value)
            case r.Match():
                return all(self.is_fresh(arm.value) for arm in node.arms)
        return True

    def passed(self, node: r.Expr) -> ast.expr:
        """Give an argument: a function of the script shares it itself if it writes to it, a builtin never does.

        Shared here where the call may alter the place it comes from: a captured or global variable, a property.
        """
        if not self.types.of(node) & ARR or self.is_fresh(node):
            return self.borrowed(node)
        root = node
        depth = 0
        while isinstance(root, r.Element):
            root = root.base
            depth += 1
        if isinstance(root, r.Read) and not root.var.is_captured and (depth == 0 or self.types.of(root) & OBJ == 0):
            return self.value(node)
        return self.shared(node)

    # ---- by class --------------------------------------------------------------------------------

    def _value(self, node: r.Expr) -> ast.expr:
        b = self.b
        match node:
            case r.Const():
                return b.const(node.value)
            case r.Held():
                return b.name(node.name)
            case r.Read():
                return self.read(node.var)
            case r.Text():
                return self.text(node.parts)
            case r.Fact():
                return b.subscript(b.name("facts"), b.const(node.name))
            case r.Element():
                return self.element(node)
            case r.SlicePart():
                return self.slice_part(node)
            case r.BinaryOp():
                return self.binary_chain(node)
            case r.Logic():
                if all(self.types.of(part) == BOOL for part in node.operands):
                    return self.test(node)
                return b.choose(self.test(node), b.const(True), b.const(False))
            case r.UnaryOp():
                return self.unary(node)
            case r.Conditional():
                return self.conditional(node)
            case r.Coalesce():
                return self.coalesce(node)
            case r.Convert():
                return self.convert(node)
            case r.Match():
                return self.match_arms(node)
            case r.YieldOf():
                return self.yield_of(node)
            case r.ArrayNew():
                return self.array(node)
            case r.CallBuiltin():
                return self.call_builtin(node.row, node.args)
            case r.CallUnit():
                return self.call_unit(node)
            case r.CallValue():
                args = [self.passed(node.function), *self.arguments(node.args)]
                return b.call("invoke", *args)
            case r.CallMember():
                return self.call_member(node)
            case r.FunctionValue():
                return self.function_value(node.symbol)
            case r.BuiltinValue():
                return b.call("BoundBuiltin", b.name(self.context.link("row", builtin_key(node.row))), self.run())
            case r.RegexConst():
                return b.name(self.context.link("regex", (node.pattern, node.modifiers)))
            case r.AssignTo():
                return self.assign(node)
            case r.Step():
                return self.step(node)
            case r.IssetOf():
                return self.isset(node.target)
            case r.UnsetOf():
                return self.unset(node.target)
        raise TypeError(f"no way to compile {type(node).__name__}")

    def read(self, var: r.Var) -> ast.expr:
        b = self.b
        name = self.context.variable(var)
        if var.is_probed and not self.is_sure(var):
            return b.choose(
                b.compare(b.name(name), "is not", b.name("UNSET")), b.name(name), b.call("missing", b.const(var.name))
            )
        return b.name(name)

    def quiet(self, node: r.Expr) -> ast.expr:
        """Give the value, none where a variable has none yet: the left side of `??`, the path in `isset`."""
        b = self.b
        if isinstance(node, r.Read) and node.var.is_probed and not self.is_sure(node.var):
            name = self.context.variable(node.var)
            return b.choose(b.compare(b.name(name), "is not", b.name("UNSET")), b.name(name), b.const(None))
        if isinstance(node, r.Fact):
            return b.call("fact_or_none", b.name("facts"), b.const(node.name))
        if isinstance(node, r.Element):
            saved = b.line
            b.line = self.context.line_of(node.span)
            result = self.element(node, quiet=True)
            b.line = saved
            return result
        if isinstance(node, r.SlicePart):
            return self.slice_part(node, quiet=True)
        if isinstance(node, r.Convert) and node.to == "numbers":
            return b.call("as_numbers", self.run(), self.quiet(node.value))
        return self.value(node)

    # ---- text ------------------------------------------------------------------------------------

    def text(self, parts: Sequence[r.Expr]) -> ast.expr:
        b = self.b
        merged: list[r.Expr | str] = []
        for part in parts:
            if isinstance(part, r.Const) and isinstance(part.value, (str, float)):
                words = part.value if isinstance(part.value, str) else format_number(part.value)
                if merged and isinstance(merged[-1], str):
                    merged[-1] += words
                else:
                    merged.append(words)
            else:
                merged.append(part)
        dynamic = [part for part in merged if not isinstance(part, str)]
        if len(dynamic) > _MANY_PARTS:
            pieces = [b.const(part) if isinstance(part, str) else self.text_part(part) for part in merged]
            return b.call("join", self.run(), b.tuple_(pieces))
        if not any(self.types.of(part) & _UNBOUNDED and not _is_short(part) for part in dynamic):
            return self._put_together([b.const(p) if isinstance(p, str) else self.text_part(p) for p in merged])
        sizes: list[ast.expr] = []
        again: list[ast.expr] = []
        for piece in merged:
            if isinstance(piece, str):
                again.append(b.const(piece))
            elif self.types.of(piece) == STR and self.is_plain(piece) and all(self.is_stable(piece, p) for p in dynamic):
                again.append(self.value(piece))
                sizes.append(b.call("len", again[-1]))
            else:
                name = self.temp()
                sizes.append(b.call("len", b.walrus(name, self.text_part(piece))))
                again.append(b.name(name))
        total = sizes[0]
        for size in sizes[1:]:
            total = b.binary("+", total, size)
        small = b.compare(total, "<", b.const(LONG_TEXT))
        return b.choose(small, self._put_together(again), b.call("join", self.run(), b.tuple_(again)))

    def _put_together(self, parts: list[ast.expr]) -> ast.expr:
        if len(parts) == 2:
            return self.b.binary("+", parts[0], parts[1])
        return self.b.joined(parts) if len(parts) > 1 else parts[0]

    def text_part(self, node: r.Expr) -> ast.expr:
        """Give the text of one part."""
        b = self.b
        if self.types.of(node) == STR:
            return self.value(node)
        first, again = self.operand(node)
        what = b.const(f"`${node.var.name}`" if isinstance(node, r.Read) else None)
        convert = b.call("text", self.run(), again, what)
        if not self.types.of(node) & STR:
            return b.call("text", self.run(), first, what)
        return b.choose(b.is_kind(first, "str"), again, convert)

    # ---- operators -------------------------------------------------------------------------------

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

    def conditional(self, node: r.Conditional) -> ast.expr:
        b = self.b
        if node.then is None:
            first, again = self.operand(node.condition)
            test = b.attr(first, "items") if self.types.of(node.condition) == ARR else first
            return b.choose(test, again, self.conditionally(lambda: self.value(node.otherwise)))
        test = self.test(node.condition)
        then = self.conditionally(lambda: self.value(node.then))  # type: ignore[arg-type]
        return b.choose(test, then, self.conditionally(lambda: self.value(node.otherwise)))

    def coalesce(self, node: r.Coalesce) -> ast.expr:
        b = self.b
        name = self.temp()
        first = b.walrus(name, self.quiet(node.left))
        otherwise = self.conditionally(lambda: self.value(node.right))
        return b.choose(b.compare(first, "is not", b.const(None)), b.name(name), otherwise)

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
            x, x_again = self.operand(left, self.is_stable(left, right))
            y, y_again = self.operand(right)
            finite = b.compare(y, ">=", b.const(1.0))
            if not isinstance(right, r.Const):
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

    # ---- arrays and elements ---------------------------------------------------------------------

    def array(self, node: r.ArrayNew) -> ast.expr:
        b = self.b
        next_index = 0
        keys: list[ast.expr] = []
        for item in node.items:
            if item.spread or (item.key is not None and not isinstance(item.key, r.Const)):
                break
            if isinstance(item.key, r.Const):
                if item.key.value is None:
                    break
                key = normalise_key(item.key.value)
            else:
                key = next_index
            if isinstance(key, int) and key >= next_index:
                next_index = key + 1
            keys.append(b.const(key))
        if len(keys) == len(node.items):
            return b.call("Array", b.dict_(keys, [self.owned(item.value) for item in node.items]), b.const(next_index))
        name = self.temp()
        steps = [b.walrus(name, b.call("Array", b.dict_([], []), b.const(0)))]
        for item in node.items:
            if item.spread:
                steps.append(b.call("spread_into", self.run(), b.name(name), self.value(item.value)))
            elif item.key is None:
                steps.append(b.call(b.attr(b.name(name), "append"), self.owned(item.value)))
            else:
                steps.append(
                    b.call(
                        b.attr(b.name(name), "set"), b.call("normalise_key", self.value(item.key)), self.owned(item.value)
                    )
                )
        return b.last_of([*steps, b.name(name)])

    def has_key(self, node: r.Expr) -> bool:
        """Say whether the expression is a variable with a text, the key for which can be kept beside it."""
        if not isinstance(node, r.Read) or node.var.is_captured or node.var.owner is not self.unit:
            return False
        return self.types.of(node) == STR and self.is_plain(node)

    def known_key(self, node: r.Expr) -> str | None:
        """Give the Python variable with the key for a variable's text, if it is at hand."""
        if isinstance(node, r.Read) and ty.KeyOf(node.var) in self.assigned:
            return f"n{node.var.id}"
        return None

    def key_of(self, node: r.Expr) -> ast.expr:
        """Give the key for the text of a variable, of which `has_key` holds. A text beyond the digits is its own key."""
        assert isinstance(node, r.Read)
        b = self.b
        name = f"n{node.var.id}"
        if ty.KeyOf(node.var) in self.assigned:
            return b.name(name)
        self.assigned[ty.KeyOf(node.var)] = None
        text = self.value(node)
        return b.walrus(name, b.choose(b.compare(text, ">", b.const(":")), text, b.call("key_of_text", text)))

    def constant_key(self, key: r.Expr | None) -> int | str | None:
        """Give the normalised key of a constant subscript, or None."""
        if isinstance(key, r.Const) and key.value is not None:
            return normalise_key(key.value)
        return None

    def element(self, node: r.Element, quiet: bool = False) -> ast.expr:
        """Compile `base[key]`: of an array inline where the subscript is known to be normal, else by `at`."""
        b = self.b
        assert node.key is not None
        constant = self.constant_key(node.key)
        if self.is_this(node.base) and isinstance(constant, str) and self.is_own_field(constant):
            return b.call(b.attr(b.attr(self.value(node.base), "fields"), "get"), b.const(constant))
        if quiet and not self.is_plain(node.base):
            name = self.temp()
            base, base_again = b.walrus(name, self.quiet(node.base)), b.name(name)
        elif self.types.of(node.base) == ARR and constant is not None:
            base = base_again = self.borrowed(node.base)
        else:
            stable = isinstance(node.key, r.Const) or self.is_stable(node.base, node.key)
            base, base_again = self.operand(node.base, stable)
        if isinstance(node.key, r.Const) and constant is not None:
            return self.constant_element(node, base, base_again, constant, node.key.value, quiet)
        return self.dynamic_element(node, base, base_again, quiet)

    def constant_element(
        self, node: r.Element, base: ast.expr, base_again: ast.expr, key: int | str, written: object, quiet: bool
    ) -> ast.expr:
        b = self.b
        at = "at_quietly" if quiet else "at"
        base_type = self.types.of(node.base) | (NONE if quiet and base is not base_again else 0)
        if base_type == STR and isinstance(key, int) and key >= 0:
            return b.any_of([b.subscript(base, b.slice_(b.const(key), b.const(key + 1))), b.const(None)])
        if base_type == ARR:
            return b.call(b.attr(b.attr(base, "items"), "get"), b.const(key))
        if not base_type & ARR:
            return b.call(at, self.run(), base, b.const(written), self.inside(node.class_def))
        slow = b.call(at, self.run(), base_again, b.const(written), self.inside(node.class_def))
        return b.choose(b.is_kind(base, "Array"), b.call(b.attr(b.attr(base_again, "items"), "get"), b.const(key)), slow)

    def dynamic_element(self, node: r.Element, base: ast.expr, base_again: ast.expr, quiet: bool) -> ast.expr:
        """The subscript may stay as it is where it is a whole number, which a dict finds as the float it is, or a text
        that cannot look like a number, since it begins beyond the digits."""
        b = self.b
        at = "at_quietly" if quiet else "at"
        assert node.key is not None
        base_type, key_type = self.types.of(node.base), self.types.of(node.key)
        if not base_type & ARR:
            return b.call(at, self.run(), base, self.value(node.key), self.inside(node.class_def))
        if base_type == ARR and base is base_again and self.has_key(node.key):
            items = b.attr(base, "items")
            if self.types.is_there(node):
                return b.subscript(items, self.key_of(node.key))
            return b.call(b.attr(items, "get"), self.key_of(node.key))
        key, key_again = self.operand(node.key)
        slow = b.call(at, self.run(), base_again, key_again, self.inside(node.class_def))
        fast = b.call(b.attr(b.attr(base_again, "items"), "get"), key_again)
        tests: list[ast.expr] = []  # the first one evaluates the subscript
        if key_type & STR:
            tests = [b.compare(key if key_type == STR else key_again, ">", b.const(":"))]
            if key_type != STR:
                tests.insert(0, b.is_kind(key, "str"))
        elif key_type == INT:
            if base is base_again and base_type == ARR:
                return b.call(b.attr(b.attr(base, "items"), "get"), key)
            tests = [b.is_kind(key, "float")] if key is not key_again else []
        elif key_type & NUMBER:
            tests = [b.compare(key_again, "==", b.binary("//", key_again, b.const(1.0)))]
            if key_type & ~NUMBER or key is not key_again:
                tests.insert(0, b.is_kind(key, "float"))
        else:
            return b.last_of([base, key, slow])
        if base_type != ARR or base is not base_again:
            is_array = b.is_kind(base, "Array")
            if key is key_again:
                tests.insert(0, is_array)
            else:  # both are evaluated before the choice
                tests[0] = b.binary("&", is_array, tests[0])
        return b.choose(b.all_of(tests), fast, slow)

    def is_own_field(self, name: str) -> bool:
        class_def = self.unit.class_def
        return class_def is not None and (name not in class_def.members or class_def.members[name].unit is None)

    def is_this(self, node: r.Expr) -> bool:
        return isinstance(node, r.Read) and node.var is self.unit.this

    def slice_part(self, node: r.SlicePart, quiet: bool = False) -> ast.expr:
        b = self.b
        base_type = self.types.of(node.base)
        bounds = [_small_bound(node.first), _small_bound(node.last)]
        bounded = node.last is not None and isinstance(bounds[1], int)
        if base_type & STR and node.step is None and bounded and (node.first is None or isinstance(bounds[0], int)):
            first = b.const(bounds[0]) if node.first is not None else None
            part = b.slice_(first, b.const(bounds[1]))
            if base_type == STR:
                return b.subscript(self.value(node.base), part)
            if not quiet:
                base, again = self.operand(node.base)
                slow = b.call("get_slice", self.run(), again, self.optional(node.first), self.optional(node.last))
                return b.choose(b.is_kind(base, "str"), b.subscript(again, part), slow)
        base_value = self.quiet(node.base) if quiet else self.value(node.base)
        extra = [self.optional(node.step)] if node.step is not None else []
        return b.call("get_slice", self.run(), base_value, self.optional(node.first), self.optional(node.last), *extra)

    def optional(self, node: r.Expr | None) -> ast.expr:
        return self.b.const(None) if node is None else self.value(node)

    # ---- implemented by Calls, Targets and Forms ---------------------------------------------------

    def convert(self, node: r.Convert) -> ast.expr:
        raise NotImplementedError

    def match_arms(self, node: r.Match) -> ast.expr:
        raise NotImplementedError

    def yield_of(self, node: r.YieldOf) -> ast.expr:
        raise NotImplementedError

    def arguments(self, args: Sequence[r.Arg]) -> list[ast.expr]:
        raise NotImplementedError

    def call_unit(self, node: r.CallUnit) -> ast.expr:
        raise NotImplementedError

    def function_value(self, symbol: r.Symbol) -> ast.expr:
        raise NotImplementedError

    def call_member(self, node: r.CallMember) -> ast.expr:
        raise NotImplementedError

    def call_builtin(self, row: Builtin, args: Sequence[r.Arg]) -> ast.expr:
        raise NotImplementedError

    def assign(self, node: r.AssignTo) -> ast.expr:
        raise NotImplementedError

    def step(self, node: r.Step) -> ast.expr:
        raise NotImplementedError

    def isset(self, node: r.Expr) -> ast.expr:
        raise NotImplementedError

    def unset(self, node: r.Expr) -> ast.expr:
        raise NotImplementedError


def _small_bound(node: r.Expr | None) -> int | None:
    """Give a constant slice bound of 0 or more that bounds the result to a short text, or None."""
    if isinstance(node, r.Const) and isinstance(node.value, float) and 0 <= node.value < LONG_TEXT:
        return int(node.value)
    return None


def _is_short(node: r.Expr) -> bool:
    """Say whether a text is short because it is a slice."""
    return isinstance(node, r.SlicePart) and node.step is None and _small_bound(node.last) is not None
