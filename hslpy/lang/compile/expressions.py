"""Expressions become Python expressions, fast paths inline, all else calls of `operators` and `runtime`.

In: resolved expressions, static types, what is surely assigned. Out: `ast` expressions. Operands are evaluated once and
left to right; a value that is needed twice goes through a temporary, unless it is a constant or a plain variable.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile import types as ty
from hslpy.lang.compile.context import Context, builtin_key
from hslpy.lang.compile.types import ARR, BOOL, FUN, NONE, OBJ, STR, walk
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Builtin
from hslpy.lang.runtime import LONG_TEXT

_UNBOUNDED = STR | ARR | FUN | OBJ | ty.OTHER | NONE  # types whose text may be long
_MANY_PARTS = 8  # parts of a text up to which it is put together inline


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
                return self.call_value(node)
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

    # ---- choices ---------------------------------------------------------------------------------

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

    # ---- implemented by the classes below this one ------------------------------------------------

    def unary(self, node: r.UnaryOp) -> ast.expr:
        raise NotImplementedError

    def binary_chain(self, node: r.BinaryOp) -> ast.expr:
        raise NotImplementedError

    def array(self, node: r.ArrayNew) -> ast.expr:
        raise NotImplementedError

    def element(self, node: r.Element, quiet: bool = False) -> ast.expr:
        raise NotImplementedError

    def slice_part(self, node: r.SlicePart, quiet: bool = False) -> ast.expr:
        raise NotImplementedError

    def convert(self, node: r.Convert) -> ast.expr:
        raise NotImplementedError

    def match_arms(self, node: r.Match) -> ast.expr:
        raise NotImplementedError

    def yield_of(self, node: r.YieldOf) -> ast.expr:
        raise NotImplementedError

    def arguments(self, args: Sequence[r.Arg]) -> list[ast.expr]:
        raise NotImplementedError

    def call_value(self, node: r.CallValue) -> ast.expr:
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


def small_bound(node: r.Expr | None) -> int | None:
    """Give a constant slice bound of 0 or more that bounds the result to a short text, or None."""
    if isinstance(node, r.Const) and isinstance(node.value, float) and 0 <= node.value < LONG_TEXT:
        return int(node.value)
    return None


def _is_short(node: r.Expr) -> bool:
    """Say whether a text is short because it is a slice."""
    return isinstance(node, r.SlicePart) and node.step is None and small_bound(node.last) is not None
