"""How deep syntax nodes are nested. In: a `Script`. Out: the diagnostic of one nested too deep; a node's children.

Walks without recursion, whatever the depth. Knows nothing of what the nodes mean.
"""

from __future__ import annotations

from dataclasses import fields

from hslpy.lang import syntax as s
from hslpy.lang.diagnostics import Diagnostic

# Nodes nested deeper than this are refused: later stages, and Python's own compiler, recurse over the nodes with a
# few frames a level, and Python's default limit is 1,000 frames. The left side of a chain of binary operators is
# not counted, since the stages walk it in a loop.
MOST_NESTING = 220

_WRAPPERS = (s.ArrayItem, s.PatternItem, s.Argument, s.Param, s.MatchArm, s.SwitchCase, s.ClassMember)
_CHILD_FIELDS: dict[type, tuple[str, ...]] = {}


def children_of(node: s.Node) -> list[s.Node]:
    """Give the nodes directly under `node`, in the order of its fields."""
    names = _CHILD_FIELDS.get(type(node))
    if names is None:
        names = _CHILD_FIELDS[type(node)] = tuple(
            field.name
            for field in fields(node)
            if field.name not in ("span", "name", "op", "op_span", "name_span", "bad_escapes")
            or (field.name == "name" and isinstance(node, s.BarrierStmt))
        )
    found: list[s.Node] = []
    for name in names:
        value = getattr(node, name)
        if isinstance(value, s.Node):
            found.append(value)
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, s.Node):
                    found.append(item)
                elif isinstance(item, tuple):
                    found.extend(item)
    return found


def too_deep(script: s.Script) -> list[Diagnostic]:
    """Give the diagnostic of the first node found nested deeper than MOST_NESTING, if there is one."""
    waiting: list[tuple[s.Node, int]] = [(script, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MOST_NESTING:
            hint = "name a part of it as a variable or a function"
            return [Diagnostic("E124", node.span, f"nested more than {MOST_NESTING} levels deep", hint)]
        first = node.left if isinstance(node, s.Binary) else None
        for child in children_of(node):
            same = isinstance(child, _WRAPPERS) or (child is first and isinstance(child, s.Binary))
            waiting.append((child, depth if same else depth + 1))
    return []
