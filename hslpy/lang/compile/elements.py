"""Arrays, elements and slices become Python's where types and subscripts are known or tested, else calls of `runtime`.

In: resolved expressions, static types, whose keys are at hand. Out: `ast` expressions.
"""

from __future__ import annotations

import ast

from hslpy.lang import resolved as r
from hslpy.lang.compile import types as ty
from hslpy.lang.compile.arithmetic import Arithmetic
from hslpy.lang.compile.expressions import small_bound
from hslpy.lang.compile.types import ARR, INT, NONE, NUMBER, STR
from hslpy.lang.conversions import normalise_key


class Elements(Arithmetic):
    """Adds arrays and their elements to the expressions of a unit's compiler."""

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
        bounds = [small_bound(node.first), small_bound(node.last)]
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
