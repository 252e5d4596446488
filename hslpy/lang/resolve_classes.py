"""Classes: their members declared, then their bodies resolved. In: class statements. Out: `ClassDef`s.

A part of `resolve.py`, which passes itself in.
"""

from __future__ import annotations

from hslpy.lang import resolved as r
from hslpy.lang import syntax as s
from hslpy.lang.scopes import Resolving


def declare_class(resolver: Resolving, node: s.ClassStmt) -> r.ClassDef:
    """Give the class with its members' names and parameters, bodies still empty."""
    world, unit = resolver.world, resolver.unit
    class_def = r.ClassDef(world.next_id(), node.name, node.name_span, unit.module)
    world.classes.append(class_def)
    for member in node.members:
        if member.function is not None and member.name == "constructor":
            if class_def.constructor is not None:
                resolver.report("E301", member.span, f"the class `{node.name}` has two constructors")
                continue
            class_def.constructor = _method(resolver, class_def, member, "constructor")
            continue
        table = class_def.statics if member.is_static else class_def.members
        if member.name in table:
            resolver.report("E301", member.span, f"the class `{node.name}` has two members `{member.name}`")
            continue
        found = r.MemberDef(
            member.name,
            member.span,
            is_private=member.is_private,
            is_static=member.is_static,
            is_readonly=member.is_readonly,
        )
        if member.function is not None:
            found.unit = _method(resolver, class_def, member, "function" if member.is_static else "method")
        elif member.is_static:
            found.var = world.new_var(member.name, unit.module.unit)
            found.var.is_assigned = found.var.is_captured = True
        table[member.name] = found
    return class_def


def _method(resolver: Resolving, class_def: r.ClassDef, member: s.ClassMember, kind: str) -> r.Unit:
    assert member.function is not None
    unit = resolver.world.new_unit(
        kind, f"{class_def.name}::{member.name}", member.function.span, resolver.unit.module, resolver.unit
    )
    unit.class_def = class_def
    if kind != "function":
        unit.this = resolver.world.new_var("this", unit, True)
        unit.this.is_assigned = True
        unit.variables["this"] = unit.this
    return unit


def resolve_class(resolver: Resolving, class_def: r.ClassDef, node: s.ClassStmt) -> None:
    """Resolve the bodies and initial values of a class."""
    seen: set[tuple[bool, str]] = set()
    for member in node.members:
        is_constructor = member.function is not None and member.name == "constructor"
        key = (member.is_static, member.name)
        if key in seen:
            continue
        seen.add(key)
        table = class_def.statics if member.is_static else class_def.members
        found = table.get(member.name)
        unit = class_def.constructor if is_constructor else found.unit if found is not None else None
        if member.function is not None:
            if unit is not None:
                resolver.function_body(unit, member.function)
        elif found is not None and member.value is not None:
            found.value = resolver.constant(member.value, "the initial value of a field")
