"""What is wrong or suspicious in a resolved program: argument counts, variables without value, odd operands.

In: a `Resolution`. Out: diagnostics in the `World`. Changes nothing and must not know Python.
"""

from __future__ import annotations

from hslpy.lang import resolved as r
from hslpy.lang.compile.types import walk
from hslpy.lang.diagnostics import suggest
from hslpy.lang.regex import check_pattern
from hslpy.lang.run import count_text
from hslpy.lang.scopes import World


def check(world: World, resolution: r.Resolution) -> None:
    """Report what is wrong."""
    for unit in resolution.units:
        for node in walk([unit.body, *(param.default for param in unit.params)]):
            _node(world, node)
        _variables(world, unit)
    for class_def in resolution.classes:
        for member in (*class_def.members.values(), *class_def.statics.values()):
            for node in walk([member.value]):
                _node(world, node)


def _node(world: World, node: r.Node) -> None:
    match node:
        case r.CallUnit():
            symbol = node.symbol
            if not (isinstance(symbol, r.Unit) and symbol.is_old_form):
                _count(world, node, str(symbol.name), symbol.required, symbol.maximum, node.args)
        case r.CallBuiltin():
            signature = node.row.signature
            _count(world, node, node.row.name, signature.required, signature.maximum, node.args, signature.text)
        case r.RegexConst():
            _pattern(world, node, node.pattern, node.modifiers)
        case r.BinaryOp(op="=~" | "!~", right=r.Const(value=str() as pattern)):
            _pattern(world, node.right, pattern, None)
        case r.If():
            for condition, _ in node.branches:
                _condition(world, condition)
        case r.Loop(condition=r.Expr() as condition):
            _condition(world, condition)
        case r.BinaryOp(op="+") | r.AssignTo(op="+"):
            for side in (node.left, node.right) if isinstance(node, r.BinaryOp) else (node.value,):
                if isinstance(side, (r.Text,)) or (isinstance(side, r.Const) and isinstance(side.value, str)):
                    world.report(
                        "W505",
                        side.span,
                        "`+` adds numbers, and this is a string",
                        "put texts together with `.`, convert with `number()`",
                    )


def _condition(world: World, node: r.Expr) -> None:
    """Warn of `=` with a constant, which makes the condition always the same; `while ($x = next())` is a habit."""
    if isinstance(node, r.Logic):
        for operand in node.operands:
            _condition(world, operand)
    elif isinstance(node, r.AssignTo) and node.op is None and isinstance(node.value, r.Const | r.Text):
        world.report("W507", node.span, "this assigns, and the condition is always the same", "compare with `==`")


def _count(
    world: World,
    node: r.Expr,
    name: str,
    required: int,
    maximum: int | None,
    args: tuple[r.Arg, ...],
    signature: str | None = None,
) -> None:
    count = len(args)
    if any(arg.spread for arg in args):
        return
    if count < required or (maximum is not None and count > maximum):
        hint = f"it is `{signature}`" if signature is not None else None
        world.report("E203", node.span, f"{name}() takes {count_text(required, maximum)}, got {count}", hint)


def _pattern(world: World, node: r.Expr, pattern: str, modifiers: str | None) -> None:
    fault = check_pattern(pattern, modifiers)
    if fault is not None:
        world.report("E219", node.span, fault)


def _variables(world: World, unit: r.Unit) -> None:
    for var in unit.variables.values():
        if var.read_at is None or var.is_assigned or var.name == "this":
            continue
        if var.is_probed and not var.is_altered:
            continue  # asked for with isset or ??: the script knows
        known = [name for name, other in unit.variables.items() if other.is_assigned]
        if unit.kind == "module":
            known += list(world.predefined)
            hint = _variable_hint(var.name, known)
        elif var.name in unit.module.unit.variables or var.name in world.predefined:
            hint = (
                f"functions see it after `global ${var.name};`"
                if not unit.is_nested and unit.name
                else "name it in `closure (...)`"
            )
        else:
            hint = _variable_hint(var.name, known)
        world.report("W501", var.read_at, f"nothing assigns `${var.name}` here", hint)


def _variable_hint(name: str, known: list[str]) -> str | None:
    hint = suggest(name, known)
    return hint.replace("`", "`$", 1) if hint else None
