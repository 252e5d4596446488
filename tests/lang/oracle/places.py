"""Places in the oracle: what `??`, `isset` and `unset` ask for, and what assignments write to.

A place is a root (a variable's Cell, or a value) and the way from there, its subscripts evaluated from left to right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hslpy.lang import syntax as s
from tests.lang.oracle import rules
from tests.lang.oracle.rules import Arr, Fault, Foreign, Obj, Skip, Value, copied
from tests.lang.oracle.scopes import EMPTY, Cell, Class, Frame


class Places:
    """The part of the oracle that reads quietly, and writes."""

    value: Any  # the rest is the interpreter's
    element: Any
    bounds: Any
    static_cell: Any

    def quiet(self, node: s.Expr, frame: Frame) -> Value:
        """Give the value of a place, EMPTY where a part of it is missing. Anything but a place is evaluated as ever."""
        if isinstance(node, s.Variable) and not (node.name == "this" and frame.this is not None):
            return copied(frame.cell(node.name).value)
        if isinstance(node, s.StaticMember) and node.is_variable:
            return copied(self.static_cell(node, frame).value)
        if isinstance(node, (s.Index, s.Member)):
            base = self.quiet(node.base, frame)
            key = node.name if isinstance(node, s.Member) else self.value(node.index, frame)  # type: ignore[arg-type]
            return self.present(base, key, frame)
        if isinstance(node, s.Slice):
            base = self.quiet(node.base, frame)
            bounds = self.bounds(node, frame)
            return EMPTY if base is EMPTY or base is None else rules.sliced(base, *bounds)
        return self.value(node, frame)

    def present(self, base: Value, key: Value, frame: Frame) -> Value:
        if isinstance(base, Arr):
            return EMPTY if key is None else copied(base.items.get(rules.key_of(key), EMPTY))
        if isinstance(base, str):
            found = self.element(base, key, frame)
            return EMPTY if found is None else found
        if isinstance(base, Obj):
            index = rules.key_of(key)
            found = self.element(base, key, frame)
            return EMPTY if found is None and index not in base.fields else found
        if isinstance(base, Foreign):
            found = self.element(base, key, frame) if base.is_object else None
            return EMPTY if found is None else found
        return EMPTY

    def Isset(self, node: s.Isset, frame: Frame) -> Value:
        if isinstance(node.target, (s.Index, s.Member)):
            base = self.quiet(node.target.base, frame)
            if isinstance(base, Obj) and isinstance(base.kind, Class):  # what is private is there all the same
                target = node.target
                key = target.name if isinstance(target, s.Member) else self.value(target.index, frame)  # type: ignore[arg-type]
                member = base.kind.members.get(str(rules.key_of(key)))
                return rules.key_of(key) in base.fields or bool(member and member.function and not member.is_static)
        return self.quiet(node.target, frame) is not EMPTY

    # ---- writing ------------------------------------------------------------------------------------

    def path(self, node: s.Expr, frame: Frame) -> tuple[Any, list[tuple[str, Any]]]:
        """Give the root of a place (a Cell, or a value), and the way from there, its subscripts evaluated."""
        if isinstance(node, s.Variable) and not (node.name == "this" and frame.this is not None):
            return frame.cell(node.name), []
        if isinstance(node, s.StaticMember) and node.is_variable:
            return self.static_cell(node, frame), []
        if isinstance(node, (s.Index, s.Member, s.Slice)):
            root, way = self.path(node.base, frame)
            if isinstance(node, s.Slice):
                return root, [*way, ("slice", self.bounds(node, frame))]
            if isinstance(node, s.Index) and node.index is None:
                return root, [*way, ("append", None)]
            key = node.name if isinstance(node, s.Member) else self.value(node.index, frame)  # type: ignore[arg-type]
            return root, [*way, ("key", key)]
        return self.value(node, frame), []

    def write(self, place: tuple[Any, list[tuple[str, Any]]], value: Value, frame: Frame) -> None:
        root, way = place
        value = copied(value)
        if isinstance(root, Cell):
            root.value = self.updated(root.value, way, value, frame)
        elif isinstance(root, Obj):
            self.updated(root, way, value, frame)
        else:
            raise Fault("R112")

    def updated(self, base: Value, way: list[tuple[str, Any]], value: Value, frame: Frame) -> Value:
        """Give `base` with `value` written at `way`; arrays are changed in place, for each has one owner."""
        if not way:
            return value
        (how, key), rest = way[0], way[1:]
        if how == "slice":
            return rules.with_slice(None if base is EMPTY else base, *key, value)
        if base is None or base is EMPTY:
            base = Arr()
        if isinstance(base, Arr):
            if how == "append":
                base.add(self.updated(None, rest, value, frame))
            else:
                index = rules.key_of(key)
                base.put(index, self.updated(base.items.get(index), rest, value, frame))
            return base
        if isinstance(base, Obj) and isinstance(base.kind, Class):
            if how == "append":
                raise Fault("R112")
            index = rules.key_of(key)
            self.check_write(base, index, frame)
            base.fields[index] = self.updated(base.fields.get(index), rest, value, frame)
            return base
        raise Fault("R110" if isinstance(base, (Obj, Foreign)) else "R112")

    def check_write(self, base: Obj, key: int | str, frame: Frame) -> None:
        member = base.kind.members.get(str(key))
        is_kept = member is not None and (member.is_private or member.is_readonly or member.function is not None)
        if is_kept and not member.is_static and frame.class_ is not base.kind:
            raise Fault("R110")

    def read(self, place: tuple[Any, list[tuple[str, Any]]], frame: Frame) -> Value:
        """Give the value at a place whose way is known; the last part may be missing."""
        root, way = place
        if isinstance(root, Cell) and way and (root.value is None or root.value is EMPTY) and way[0][0] != "slice":
            root.value = Arr()
        value = root.value if isinstance(root, Cell) else root
        if value is EMPTY and not way:
            raise Fault("R106")
        for number, (how, key) in enumerate(way):
            value = None if value is EMPTY else value
            is_inner = number < len(way) - 1 and way[number + 1][0] != "slice"
            if how == "key" and is_inner and isinstance(value, Arr) and value.items.get(rules.key_of(key)) is None:
                value.put(rules.key_of(key), Arr())  # made on the way, even if the operator then fails
            if how == "append":
                value = None
            elif how == "slice":
                value = rules.sliced(value, *key)
            elif isinstance(value, (Arr, Obj)) or value is None:
                value = self.element(value, key, frame) if not isinstance(value, Arr) else value.items.get(rules.key_of(key))
            else:
                raise Fault("R112")
        return copied(value)

    def Assign(self, node: s.Assign, frame: Frame) -> Value:
        if isinstance(node.target, s.Pattern):
            value = self.value(node.value, frame)
            self.destructure(node.target, value, frame)
            return value
        place = self.path(node.target, frame)
        if node.op == "=":
            value = self.value(node.value, frame)
        else:
            old = self.read(place, frame)
            value = rules.BINARY[node.op[:-1]](old, self.value(node.value, frame))
        self.write(place, value, frame)
        return value

    def destructure(self, pattern: s.Pattern, source: Value, frame: Frame) -> None:
        fields: Mapping[int | str, Value] = source.items if isinstance(source, Arr) else {}
        if isinstance(source, Obj) and isinstance(source.kind, Class):
            fields = source.fields
        for number, item in enumerate(pattern.items):
            if item.rest:
                rest = list(source.items.values())[number:] if isinstance(source, Arr) else []
                self.write(self.path(item.target, frame), rules.listed(copied(value) for value in rest), frame)
                continue
            key = number if item.key is None else rules.key_of(self.value(item.key, frame))
            if key in fields:
                value = copied(fields[key])
            else:
                value = self.value(item.default, frame) if item.default is not None else None
            if isinstance(item.target, s.Pattern):
                self.destructure(item.target, value, frame)
            else:
                self.write(self.path(item.target, frame), value, frame)

    def Increment(self, node: s.Increment, frame: Frame) -> Value:
        place = self.path(node.target, frame)
        old = self.read(place, frame)
        old = 0.0 if old is None else old
        new = rules.operand(old) + (1 if node.op == "++" else -1)
        self.write(place, new, frame)
        return new if node.prefix else rules.number_of(old)

    def Unset(self, node: s.Unset, frame: Frame) -> Value:
        root, way = self.path(node.target, frame)
        if not way:
            was = root.value is not EMPTY
            root.value = EMPTY
            return was
        value = root.value if isinstance(root, Cell) else root
        for how, key in way[:-1]:
            if how == "slice":
                raise Skip
            if isinstance(value, Arr):
                value = value.items.get(rules.key_of(key))
            elif isinstance(value, Obj):
                value = value.fields.get(rules.key_of(key))
            else:
                value = None
        how, key = way[-1]
        if how == "slice":
            return self.unset_slice(value, key)
        if isinstance(value, Arr):
            return value.items.pop(rules.key_of(key), EMPTY) is not EMPTY
        if isinstance(value, Obj) and isinstance(value.kind, Class):
            index = rules.key_of(key)
            self.check_write(value, index, frame)
            return value.fields.pop(index, EMPTY) is not EMPTY
        return False

    def unset_slice(self, value: Value, bounds: list[Value]) -> bool:
        chosen = set(rules.positions(*bounds, len(value.items) if isinstance(value, Arr) else 0))
        if value is None or value is EMPTY:
            return False
        if not isinstance(value, Arr):
            raise Fault("R126")
        kept = rules.listed(item for at, item in enumerate(value.items.values()) if at not in chosen)
        value.items, value.next = kept.items, kept.next
        return bool(chosen)
