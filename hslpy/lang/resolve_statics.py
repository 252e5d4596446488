"""Members of classes and of whole imported modules by their names: `Class::name`, `Class::$name`, `namespace::name`.

In: such nodes. Out: what they mean, or None after an error.

A part of `resolve.py`, which passes itself in.
"""

from __future__ import annotations

from hslpy.lang import resolved as r
from hslpy.lang import syntax as s
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import suggest
from hslpy.lang.scopes import Resolving, find_symbol, report_absent


def find_static(resolver: Resolving, node: s.StaticMember) -> r.Var | r.Fact | r.Symbol | Builtin | None:
    """Give what `Class::name`, `Class::$name` or `namespace::name` means, or None after an error."""
    space, _, inner = node.class_name.partition("::")
    module = resolver.unit.module.namespaces.get(space)
    if module is not None and not inner:
        return _find_exported(resolver, node, module)
    if module is not None:
        symbol: r.Symbol | None = module.unit.functions.get(inner)
    elif node.class_name == "static":
        symbol = resolver.unit.class_def
        if symbol is None:
            resolver.report("E304", node.span, "`static::` is there inside of classes only")
            return None
    else:
        symbol = find_symbol(resolver.unit, node.class_name)
    if not isinstance(symbol, r.ClassDef):
        row = resolver.world.builtins.get(f"{node.class_name}::{node.name}")
        if row is not None and not node.is_variable:
            resolver.world.used_builtins.add(f"{node.class_name}::{node.name}")
            return row
        known = [n for n, x in resolver.unit.module.unit.functions.items() if isinstance(x, r.ClassDef)]
        if report_absent(resolver.world, node.class_name, node.span):
            return None
        hint = suggest(node.class_name, known + list(resolver.unit.module.namespaces))
        resolver.report("E208", node.span, f"unknown class or namespace `{node.class_name}`", hint)
        return None
    member = symbol.statics.get(node.name)
    if member is None or (member.var is None) == node.is_variable:
        shown = ("$" if node.is_variable else "") + node.name
        resolver.report(
            "E303",
            node.span,
            f"the class `{symbol.name}` has no static member `{shown}`",
            suggest(node.name, symbol.statics),
        )
        return None
    if member.is_private and resolver.unit.class_def is not symbol:
        resolver.report("E302", node.span, f"`{symbol.name}::{node.name}` is private")
        return None
    if member.var is not None:
        member.var.is_captured = True
        resolver.unit.uses.add(member.var)
        return member.var
    assert member.unit is not None
    resolver.refer(member.unit)
    return member.unit


def _find_exported(resolver: Resolving, node: s.StaticMember, module: r.Module) -> r.Var | r.Fact | r.Symbol | None:
    unit = module.unit
    if node.is_variable:
        found = unit.variables.get(node.name) or unit.foreign.get(node.name)
        if isinstance(found, r.Var):
            found.is_captured = True
            resolver.unit.uses.add(found)
            return found
        known = list(unit.variables)
    else:
        symbol = unit.functions.get(node.name)
        if symbol is not None:
            resolver.refer(symbol)
            return symbol
        known = list(unit.functions)
    shown = ("$" if node.is_variable else "") + node.name
    resolver.report("E212", node.span, f"the module `{node.class_name}` has no `{shown}`", suggest(node.name, known))
    return None
