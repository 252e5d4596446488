"""Assignments, `++`, `isset` and `unset`: what happens to places. In: resolved targets. Out: `ast` expressions.

Every assignment is a Python expression, so that it may stand anywhere; `statements.py` has shorter forms for the usual
ones. Subscripts are evaluated before the value, and the container last, since the value may replace it.
"""

from __future__ import annotations

import ast

from hslpy.lang import resolved as r
from hslpy.lang.compile import types as ty
from hslpy.lang.compile.calls import Calls
from hslpy.lang.compile.types import ANY, ARR, NUMBER, STR


class Targets(Calls):
    """Adds places to the expressions of a unit's compiler."""

    # ---- containers ------------------------------------------------------------------------------

    def holder(self, node: r.Expr) -> ast.expr:
        """Give the container of an element to be written: an unshared array, made if need be, or an object."""
        b = self.b
        saved = b.line
        b.line = self.context.line_of(node.span)
        result = self._holder(node)
        b.line = saved
        return result

    def _holder(self, node: r.Expr) -> ast.expr:
        b = self.b
        if isinstance(node, r.Read):
            if node.var is self.unit.this:
                return self.value(node)
            name = self.context.variable(node.var)
            self.stores.add(node.var)
            value = b.name(name)
            make = b.walrus(name, b.call("element_holder", self.run(), value, b.const(node.var.name)))
            ready = b.no(b.attr(value, "shared"))
            self.note_assigned(node.var)
            return b.choose(b.all_of([b.is_kind(value, "Array"), ready]), value, make)
        if isinstance(node, r.Fact):
            return b.call("fact_holder", self.run(), b.name("facts"), b.const(node.name))
        if isinstance(node, r.Element):
            return b.call("inner", self.run(), self.holder(node.base), self.key(node), self.inside(node.class_def))
        return b.call("holder_of", self.value(node))

    def key(self, node: r.Element) -> ast.expr:
        """Give the subscript of an element to be written; UNSET appends."""
        return self.b.name("UNSET") if node.key is None else self.value(node.key)

    def note_assigned(self, var: r.Var, bits: int | None = None) -> None:
        """Note that the variable has a value now, of types `bits` if that is given."""
        ty.forget(self.assigned, var)
        if not var.is_unset and var.owner is self.unit:
            self.assigned[var] = None if var.is_captured else bits

    # ---- assignment ------------------------------------------------------------------------------

    def assign(self, node: r.AssignTo) -> ast.expr:
        target = node.target
        if isinstance(target, r.Places):
            return self.b.last_of(self.destructure(target, node.value))
        if node.op is None:
            return self.store(target, node.value)
        return self.compound(node.op, target, node.value)

    def store(self, target: r.Expr, value: r.Expr) -> ast.expr:
        """Assign the value of an expression to one place."""
        b = self.b
        if isinstance(target, r.Element) and not self.is_simple(value, isinstance(target.base, r.Element)):
            key_name, value_name = self.temp(), self.temp()
            steps = []
            key: ast.expr = self.key(target)
            if target.key is not None and not isinstance(target.key, r.Const):
                steps.append(b.walrus(key_name, key))
                key = b.name(key_name)
            steps.append(b.walrus(value_name, self.owned(value)))
            steps.append(self.put(target, key, b.name(value_name)))
            return b.last_of(steps)
        if isinstance(target, r.SlicePart):
            return self.store_slice(target, self.value(value))
        return self.store_value(target, self.owned(value))

    def is_simple(self, node: r.Expr, is_deep: bool) -> bool:
        """Say whether the value may be evaluated after the container of its place was made ready: it changes no variable,
        and is not the array of which an inner one would be written (`is_deep`).
        """
        if isinstance(node, r.Read):
            return not (is_deep and self.types.of(node) & ARR)
        return isinstance(node, r.Const) or (isinstance(node, r.ArrayNew) and not node.items)

    def store_value(self, target: r.Expr, value: ast.expr) -> ast.expr:
        """Assign a value that is owned already."""
        b = self.b
        match target:
            case r.Read():
                self.stores.add(target.var)
                result = b.walrus(self.context.variable(target.var), value)
                self.note_assigned(target.var)
                return result
            case r.Fact():
                return b.call("set_fact", b.name("facts"), b.const(target.name), value)
            case r.Element():
                return self.put(target, self.key(target), value)
            case r.SlicePart():
                return self.store_slice(target, value)
        raise TypeError(f"no way to assign to {type(target).__name__}")

    def put(self, target: r.Element, key: ast.expr, value: ast.expr) -> ast.expr:
        return self.b.call("put", self.run(), self.holder(target.base), key, value, self.inside(target.class_def))

    def store_slice(self, target: r.SlicePart, value: ast.expr) -> ast.expr:
        """Assign to a slice, and give the value."""
        b = self.b
        bounds = [self.optional(bound) for bound in (target.first, target.last, target.step)]
        base = target.base
        name = self.temp()
        if isinstance(base, r.Element):
            holder = self.holder(base.base)
            return b.call("put_slice", self.run(), holder, self.key(base), *bounds, value, self.inside(base.class_def))
        changed = b.call("set_slice", self.run(), self.quiet(base), *bounds, b.walrus(name, value))
        return b.last_of([self.store_value(base, changed), b.name(name)])

    def destructure(self, target: r.Places, value: r.Expr) -> list[ast.expr]:
        """Give the steps of a destructuring; the last one is its value."""
        source = self.keep()
        steps = [self.b.walrus(source, self.value(value))]
        self.take_apart(target, source, steps)
        steps.append(self.b.name(source))
        return steps

    def take_apart(self, target: r.Places, source: str, steps: list[ast.expr]) -> None:
        b = self.b
        for number, place in enumerate(target.places):
            saved = b.line
            b.line = self.context.line_of(place.span)
            if place.is_rest:
                rest = b.call("rest_of", self.run(), b.name(source), b.const(number))
                steps.append(self.store_value(place.target, rest))
                b.line = saved
                continue
            item = self.keep()
            found = b.walrus(item, b.call("pick", b.name(source), self.value(place.key)))
            default = self.conditionally(lambda place=place: self.optional(place.default))  # type: ignore[misc]
            held = b.choose(b.compare(found, "is", b.name("UNSET")), default, b.name(item))
            if isinstance(place.target, r.Places):
                steps.append(b.walrus(item, held))
                self.take_apart(place.target, item, steps)
            else:
                again = self.temp()
                own = b.choose(
                    b.is_kind(b.walrus(again, held), "Array"), b.call(b.attr(b.name(again), "share")), b.name(again)
                )
                steps.append(self.store_value(place.target, own))
            b.line = saved

    # ---- assignment with an operator ---------------------------------------------------------------

    def compound(self, op: str, target: r.Expr, value: r.Expr) -> ast.expr:
        b = self.b
        if isinstance(target, (r.Read, r.Fact)):
            return self.store_value(target, self.operated(op, target, value))
        if isinstance(target, r.Element):
            container, key = self.keep(), self.keep()
            steps: list[ast.expr] = []
            if target.key is not None:
                steps.append(b.walrus(key, self.value(target.key)))
            if op == "+" and self.types.of(value) & ARR and not isinstance(value, r.ArrayNew):
                held = r.Held(value.span, self.keep(), self.types.of(value))
                steps.append(b.walrus(held.name, self.owned(value)))  # before its own elements may be written to
                value = held
            steps.append(b.walrus(container, self.holder(target.base)))
            old = r.Held(target.span, self.keep(), ANY)
            if target.key is None:
                steps.append(b.walrus(old.name, b.const(None)))
                key_value: ast.expr = b.name("UNSET")
            else:
                key_value = b.name(key)
                steps.append(
                    b.walrus(
                        old.name, b.call("peek", self.run(), b.name(container), key_value, self.inside(target.class_def))
                    )
                )
            new = self.operated(op, old, value)
            steps.append(b.call("put", self.run(), b.name(container), key_value, new, self.inside(target.class_def)))
            return b.last_of(steps)
        if isinstance(target, r.SlicePart):
            if op in (".", ".?"):
                return self.store_slice(target, self.text((target, value)))
            return self.store_slice(target, self.value(r.BinaryOp(target.span, op, target, value)))
        raise TypeError(f"no way to assign to {type(target).__name__}")

    def operated(self, op: str, old: r.Expr, value: r.Expr) -> ast.expr:
        """Give the new value of a place: the old one combined with `value`."""
        b = self.b
        if op in (".", ".?"):
            if op == ".?":
                old = r.Convert(old.span, "text", old)
            return self.text((old, *(value.parts if isinstance(value, r.Text) else (value,))))
        if op == "+" and self.types.of(old) & ARR:

            def slow(x: ast.expr, y: ast.expr) -> ast.expr:
                return b.call("add_assign", self.run(), x, y)

            return self.guarded(old, value, NUMBER, lambda x, y: b.binary("+", x, y), slow)
        return self.arithmetic(op, old, value)

    def step(self, node: r.Step) -> ast.expr:
        """Compile `++` and `--` as an expression."""
        b = self.b
        target = node.target
        by = b.const(node.by)
        if isinstance(target, (r.Read, r.Fact)):
            if node.prefix:
                return self.store_value(target, self.stepped(target, node.by))
            old = self.keep()
            return b.last_of(
                [
                    b.walrus(old, b.call("step_value", self.value(target), by)),
                    self.store_value(target, b.binary("+", b.name(old), by)),
                    b.name(old),
                ]
            )
        assert isinstance(target, r.Element)
        container, key, old = self.keep(), self.keep(), self.keep()
        steps = [b.walrus(key, self.key(target)), b.walrus(container, self.holder(target.base))]
        found = b.call("peek", self.run(), b.name(container), b.name(key), self.inside(target.class_def))
        steps.append(b.walrus(old, b.call("step_value", found, by)))
        new = b.binary("+", b.name(old), by)
        steps.append(b.call("put", self.run(), b.name(container), b.name(key), new, self.inside(target.class_def)))
        return b.last_of(steps if node.prefix else [*steps, b.name(old)])

    def stepped(self, target: r.Expr, by: float) -> ast.expr:
        b = self.b
        if self.types.of(target) & ~NUMBER == 0:
            return b.binary("+", self.value(target), b.const(by))
        first, again = self.operand(target)
        number = b.choose(b.is_kind(first, "float"), again, b.call("step_value", again, b.const(by)))
        return b.binary("+", number, b.const(by))

    # ---- isset and unset -------------------------------------------------------------------------

    def isset(self, node: r.Expr) -> ast.expr:
        b = self.b
        if isinstance(node, r.Read):
            if self.is_sure(node.var):
                return b.const(True)
            return b.compare(b.name(self.context.variable(node.var)), "is not", b.name("UNSET"))
        if isinstance(node, r.Fact):
            return b.compare(b.call("fact", b.name("facts"), b.const(node.name)), "is not", b.name("UNSET"))
        if isinstance(node, r.Element):
            assert node.key is not None
            constant = self.constant_key(node.key)
            if isinstance(node.base, r.Read) and self.types.of(node.base) == ARR and self.is_plain(node.base):
                items = b.attr(self.value(node.base), "items")
                if constant is not None:
                    return b.compare(b.const(constant), "in", items)
                if self.has_key(node.key):
                    return self.isset_text(node.key, items)
                if self.types.of(node.key) & STR:
                    key, again = self.operand(node.key)
                    if self.types.of(node.key) == STR:
                        word = b.compare(key, ">", b.const(":"))
                    else:
                        word = b.all_of([b.is_kind(key, "str"), b.compare(again, ">", b.const(":"))])
                    slow = b.call("has", self.run(), self.value(node.base), again, self.inside(node.class_def))
                    return b.choose(word, b.compare(again, "in", items), slow)
            return b.call("has", self.run(), self.quiet(node.base), self.value(node.key), self.inside(node.class_def))
        return b.compare(self.quiet(node), "is not", b.const(None))

    def isset_text(self, node: r.Expr, items: ast.expr) -> ast.expr:
        """Compile `isset($a[$k])` for a text. What is found as it is is its own key, so that only a miss asks for more."""
        b = self.b
        known = self.known_key(node)
        if known is not None:
            return b.compare(b.name(known), "in", items)
        self.key_of(node)
        name, text = self.known_key(node), self.value(node)
        assert name is not None
        other = b.compare(b.walrus(name, b.call("key_of_text", text)), "in", items)
        seems_a_number = b.compare(text, "<=", b.const(":"))
        return b.any_of([b.compare(b.walrus(name, text), "in", items), b.all_of([seems_a_number, other])])

    def unset(self, node: r.Expr) -> ast.expr:
        b = self.b
        if isinstance(node, r.Read):
            self.stores.add(node.var)
            name = self.context.variable(node.var)
            was = self.temp()
            there = b.walrus(was, b.compare(b.name(name), "is not", b.name("UNSET")))
            return b.last_of([there, b.walrus(name, b.name("UNSET")), b.name(was)])
        if isinstance(node, r.Fact):
            return b.call("unset_fact", b.name("facts"), b.const(node.name))
        if isinstance(node, r.Element):
            return b.call("remove", self.run(), self.reached(node.base), self.key(node), self.inside(node.class_def))
        assert isinstance(node, r.SlicePart)
        bounds = [self.optional(bound) for bound in (node.first, node.last, node.step)]
        return b.call("unset_slice", self.run(), self.reached(node.base), *bounds)

    def reached(self, node: r.Expr) -> ast.expr:
        """Give the container of an unset path: ready for writing where it is there, never made."""
        b = self.b
        if isinstance(node, r.Read):
            return b.call("ready", self.run(), self.quiet(node))
        if isinstance(node, r.Element):
            return b.call("peek", self.run(), self.reached(node.base), self.key(node), self.inside(node.class_def))
        return b.call("ready", self.run(), self.quiet(node))
