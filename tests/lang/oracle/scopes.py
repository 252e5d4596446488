"""What the oracle keeps while it runs: variables, calls, modules, classes, generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import greenlet

from hslpy.lang import syntax as s
from hslpy.lang.nesting import children_of
from tests.lang.oracle.rules import Fault, Obj, Value

EMPTY = object()  # what a variable without a value holds
MISSING = object()


class Break(Exception):
    pass


class Continue(Exception):
    pass


class Return(Exception):
    def __init__(self, value: Value) -> None:
        self.value = value


class Cell:
    """A variable."""

    def __init__(self, value: Value = EMPTY) -> None:
        self.value = value


class Class:
    def __init__(self, node: s.ClassStmt, module: Module) -> None:
        self.node = node
        self.module = module
        self.statics: dict[str, Cell] = {}
        self.members = {member.name: member for member in node.members}


class Generator:
    """What a call of a function with `yield` gives: its body runs in a greenlet, up to the next `yield`, when asked."""

    def __init__(self, body: Callable[[Generator], None]) -> None:
        self.greenlet = greenlet.greenlet(lambda: body(self))
        self.count = 0
        self.is_running = False

    def advance(self) -> Value:
        """Give the next value, or MISSING at the end."""
        if self.is_running:
            raise Fault("R115")
        if self.greenlet.dead:
            return MISSING
        self.greenlet.parent = greenlet.getcurrent()
        self.is_running = True
        try:
            value = self.greenlet.switch()
        finally:
            self.is_running = False
        if self.greenlet.dead:
            return MISSING
        self.count += 1
        return value

    def give(self, value: Value) -> None:
        self.greenlet.parent.switch(value)


class Module:
    """One file's global scope."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.cells: dict[str, Cell] = {}
        self.names: dict[str, Any] = {}  # functions and classes
        self.spaces: dict[str, Module] = {}


class Frame:
    """One call, or a module's top level."""

    def __init__(self, module: Module, cells: dict[str, Cell], names: tuple[dict[str, Any], ...]) -> None:
        self.module = module
        self.cells = cells
        self.names = names
        self.this: Obj | None = None
        self.class_: Class | None = None
        self.generator: Generator | None = None
        self.loops = 0

    def cell(self, name: str) -> Cell:
        return self.cells.setdefault(name, Cell())


def walk(node: s.Node) -> Iterable[s.Node]:
    """Give the nodes under `node`, itself included, without those of functions within."""
    yield node
    for child in children_of(node):
        if not isinstance(child, (s.Function, s.ClassStmt)):
            yield from walk(child)
