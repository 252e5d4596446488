"""What an older profile makes of an expression: nodes that convert, and operators marked `?` for the older form.

In: a resolved expression of a file whose profile is not plain. Out: the expression as that profile has it; doing it twice
changes nothing more. Must not know Python.
"""

from __future__ import annotations

from dataclasses import replace

from hslpy.lang import resolved as r
from hslpy.lang.profiles import Profile

_COMPARING = frozenset({"==", "!=", "===", "!==", "<", ">", "<=", ">=", "=~", "!~"})
_WITHIN = frozenset({"boolean", "array", "any"})


def in_profile(profile: Profile, node: r.Expr) -> r.Expr:
    """Give the expression as the profile has it."""
    match node:
        case r.Element() if profile.missing_is_empty:
            return r.Convert(node.span, "text", node)
        case r.BinaryOp():
            if node.op in _COMPARING:
                return _in_numbers(profile, node)
            return replace(node, op=operator(profile, node.op))
        case r.Text() if profile.none_is_empty:
            return r.Text(node.span, tuple(text_part(part) for part in node.parts))
        case r.Const(value=bool() as value) if profile.booleans_are_numbers:
            return r.Const(node.span, float(value))
        case r.UnaryOp(op="!" | "not") | r.Logic() | r.IssetOf() | r.UnsetOf() | r.CallMember() | r.CallValue():
            return _in_numbers(profile, node)
        case r.Fact() if _WITHIN & set(node.predefined.types):
            return _in_numbers(profile, node)
        case r.CallUnit(symbol=r.Unit() as unit) if not unit.span.source.profile.booleans_are_numbers:
            return _in_numbers(profile, node)
    return node


def operator(profile: Profile, op: str) -> str:
    """Give an operator's name in the profile."""
    older = (
        (op == "+" and profile.plus_joins)
        or (op in ("*", "%") and profile.numbers_only)
        or (op == "." and profile.none_is_empty)
    )
    return f"{op}?" if older else op


def bare(node: r.Expr) -> r.Expr:
    """Give a path as `isset` and `??` look at it, without what would hide that something is missing."""
    if isinstance(node, r.Convert) and node.to == "text":
        return bare(node.value)
    if isinstance(node, (r.Element, r.SlicePart)) and isinstance(node.base, (r.Convert, r.Element, r.SlicePart)):
        return replace(node, base=bare(node.base))
    return node


def _in_numbers(profile: Profile, node: r.Expr) -> r.Expr:
    return r.Convert(node.span, "numbers", node) if profile.booleans_are_numbers else node


def text_part(part: r.Expr) -> r.Expr:
    """Give a part of a text for a profile in which none is no text."""
    if isinstance(part, (r.Const, r.Text)) or (isinstance(part, r.Convert) and part.to == "text"):
        return part
    return r.Convert(part.span, "text", part)
