"""Calls become Python calls: of the script's functions, of members and of builtins, with arguments tested inline.

In: resolved calls. Out: `ast` expressions. Builtins' bodies never test what is tested here.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile import types as ty
from hslpy.lang.compile.context import builtin_key
from hslpy.lang.compile.elements import Elements
from hslpy.lang.compile.inline import inlined
from hslpy.lang.compile.types import FUN
from hslpy.lang.declare import Builtin

_PYTHON_KIND = {"string": "str", "number": "float", "boolean": "bool", "array": "Array", "object": "HslObject"}


class Calls(Elements):
    """The calls of a unit's compiler."""

    def _value(self, node: r.Expr) -> ast.expr:
        match node:
            case r.Cached():
                return self.cached(node)
            case r.DataOf():
                return self.b.call(self.context.link("data", (node.kind, node.path, node.options)), self.run())
            case r.ObjectNew():
                return self.b.call("object_of", self.array(node.items))
        return super()._value(node)

    def arguments(self, args: Sequence[r.Arg]) -> list[ast.expr]:
        found = []
        for arg in args:
            if arg.spread:
                found.append(self.b.starred(self.b.call("spread_args", self.value(arg.value))))
            else:
                found.append(self.passed(arg.value))
        return found

    def call_value(self, node: r.CallValue) -> ast.expr:
        """Compile a call of a function value: of a script's function that takes so many arguments at once."""
        b = self.b
        if any(arg.spread for arg in node.args) or not self.types.of(node.function) & FUN:
            return b.call("invoke", self.passed(node.function), *self.arguments(node.args))
        function, again = self.operand(node.function)
        count = b.const(len(node.args))
        fits = b.compare(b.attr(again, "required"), "<=", count, "<=", b.attr(again, "most"))
        direct = b.all_of([b.is_kind(function, "HslFunction"), fits])
        return b.call(
            b.choose(direct, b.attr(again, "call"), b.call("invoking", self.run(), again)), *self.arguments(node.args)
        )

    def call_unit(self, node: r.CallUnit) -> ast.expr:
        b = self.b
        symbol = node.symbol
        if any(arg.spread for arg in node.args):
            return b.call("call_spread", self.run(), self.function_value(symbol), b.tuple_(self.arguments(node.args)))
        return b.call(self.context.function(symbol), *self.arguments(node.args))

    def function_value(self, symbol: r.Symbol) -> ast.expr:
        b = self.b
        if isinstance(symbol, r.Unit) and symbol.kind == "method":  # of an `object [...]`, which binds it
            bounds = [b.const(symbol.required), b.const(symbol.maximum)]
            return b.call("Method", b.name(self.context.function(symbol)), *bounds)
        if isinstance(symbol, r.Unit) and symbol.name is not None and not symbol.is_nested:
            return b.name(f"h{symbol.id}")
        name = None if isinstance(symbol, r.Unit) and symbol.name is None else symbol.name
        function = b.name(self.context.function(symbol))
        order = [b.const(symbol.order)] if isinstance(symbol, r.Unit) and symbol.order else []
        return b.call("HslFunction", function, b.const(name), b.const(symbol.required), b.const(symbol.maximum), *order)

    def cached(self, node: r.Cached) -> ast.expr:
        """Compile `cache`: the function is a value here, and its name the cache's."""
        b = self.b
        options = self.borrowed(node.options)
        call = node.call
        name: ast.expr = b.const(None)
        if isinstance(call, r.CallUnit):
            name, function = b.const(call.symbol.name), self.function_value(call.symbol)
        elif isinstance(call, r.CallBuiltin):
            name = b.const(f"builtin {builtin_key(call.row)}")
            function = b.call("BoundBuiltin", b.name(self.context.link("row", builtin_key(call.row))), self.run())
        elif isinstance(call, r.CallMember):
            base, key = self.temp(), self.temp()
            steps = [b.walrus(base, self.value(call.base)), b.walrus(key, self.value(call.key))]
            found = b.call("at", self.run(), b.name(base), b.name(key), self.inside(call.class_def))
            function = b.last_of([*steps, found])
            name = b.call("method_name", b.name(base), b.name(key))
        else:
            assert isinstance(call, r.CallValue)
            function = self.passed(call.function)
        return b.call("cached", self.run(), options, function, name, b.tuple_(self.arguments(call.args)))

    def call_member(self, node: r.CallMember) -> ast.expr:
        b = self.b
        constant = self.constant_key(node.key)
        class_def = self.unit.class_def
        is_named = isinstance(constant, str) and not any(arg.spread for arg in node.args)
        if class_def is not None and self.is_this(node.base) and is_named:
            member = class_def.members.get(str(constant))
            if member is not None and member.unit is not None and _count_fits(member.unit, len(node.args)):
                return b.call(self.context.function(member.unit), self.value(node.base), *self.arguments(node.args))
        args = self.arguments(node.args)
        function = "call_member_in_numbers" if node.in_numbers else "call_member"
        return b.call(function, self.run(), self.passed(node.base), self.value(node.key), self.inside(node.class_def), *args)

    def call_builtin(self, row: Builtin, args: Sequence[r.Arg]) -> ast.expr:
        b = self.b
        key = builtin_key(row)
        if any(arg.spread for arg in args):
            parts = [
                b.starred(b.call("spread_args", self.value(a.value))) if a.spread else self.passed(a.value) for a in args
            ]
            return b.call("call_bound", self.run(), b.name(self.context.link("row", key)), b.tuple_(parts))
        values = [self.argument(row, key, index, arg.value) for index, arg in enumerate(args)]
        first = [self.run()] if row.takes_call else []

        def call(*values: ast.expr) -> ast.expr:
            return b.call(self.context.link("function", key), *first, *values)

        text = self.inline_form(row, args)
        if text is None:
            return call(*values)
        return inlined(b, text, row.signature.parameters[0].name, values[0], self.temp, call)

    def inline_form(self, row: Builtin, args: Sequence[r.Arg]) -> str | None:
        """Give the Python expression that may stand for the call, if the row has one."""
        if len(args) != 1 or not row.inline:
            return None
        kind = self.types.of(args[0].value)
        for name, text in row.inline.items():
            if not name or (kind and not kind & ~ty.of_names([name])):
                return text
        return None

    def argument(self, row: Builtin, key: str, index: int, node: r.Expr) -> ast.expr:
        """Give an argument, its type tested where it isn't known."""
        b = self.b
        parameters = row.signature.parameters
        names = parameters[min(index, len(parameters) - 1)].types
        wanted = ty.of_names(names)
        value = self.passed(node)
        if "any" in names:
            return value
        if all(name in ty.EXACT for name in names) and self.types.of(node) & ~wanted == 0:
            return value
        saved = b.line
        b.line = self.context.line_of(node.span)
        first: ast.expr = value
        again: ast.expr = value
        if not (self.is_plain(node) and isinstance(value, ast.Name)):
            name = self.temp()
            first, again = b.walrus(name, value), b.name(name)
        row_name = b.name(self.context.link("row", key))
        if not all(name in ty.EXACT for name in names):
            result = b.call("fitting", row_name, b.const(index), value)
        else:
            kinds = names
            if len(kinds) == 1 and kinds[0] in _PYTHON_KIND:
                test = b.is_kind(first, _PYTHON_KIND[kinds[0]])
            else:
                test = b.compare(b.attr(first, "__class__"), "in", b.name(self.context.link("types", tuple(sorted(kinds)))))
            result = b.choose(test, again, b.call("wrong", row_name, b.const(index), again))
        b.line = saved
        return result


def _count_fits(unit: r.Unit, count: int) -> bool:
    return unit.required <= count and (unit.maximum is None or count <= unit.maximum)
