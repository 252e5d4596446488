"""Expressions that are control flow, `match` and `yield`, and the conversions of older profiles.

In: resolved expressions. Out: `ast` expressions.
"""

from __future__ import annotations

import ast

from hslpy.lang import resolved as r
from hslpy.lang.compile.targets import Targets
from hslpy.lang.compile.types import ARR, BOOL, NONE

_ARMS_A_CHAIN = 30  # arms after which a chain ends: Python's compiler recurses over them


class Forms(Targets):
    """Adds these forms to the expressions of a unit's compiler."""

    def convert(self, node: r.Convert) -> ast.expr:
        """Compile what an older profile makes of a value."""
        b = self.b
        bits = self.types.of(node.value)
        if node.to == "numbers":
            if bits == BOOL:
                return b.call("float", self.value(node.value))
            value = self.value(node.value)
            return b.call("as_numbers", self.run(), value) if bits & (BOOL | ARR) else value
        if not bits & NONE:
            return self.value(node.value)
        first, again = self.operand(node.value)
        return b.choose(b.compare(first, "is not", b.const(None)), again, b.const(""))

    def yield_of(self, node: r.YieldOf) -> ast.expr:
        """Compile `yield`. While others run, the generator takes no level of calls; it may go on at another depth."""
        b = self.b
        value = self.temp()
        return b.last_of(
            [
                b.walrus(value, self.owned(node.value) if node.value is not None else b.const(None)),
                b.walrus("depth", b.binary("+", b.name("depth"), b.const(1))),
                b.yielded(b.name(value)),
                b.walrus("base", b.binary("-", b.name("depth"), b.const(1))),
                b.walrus("depth", b.name("base")),
                b.any_of([b.compare(b.name("depth"), ">=", b.const(0)), b.call("deeper", self.run())]),
                b.const(None),
            ]
        )

    def match_arms(self, node: r.Match) -> ast.expr:
        """Compile a `match` as conditional expressions; a long one as chains, each tried where the one before missed."""
        b = self.b
        subject, found = self.keep(), self.keep()
        held = r.Held(node.subject.span, subject, self.types.of(node.subject))
        steps: list[ast.expr] = [b.walrus(subject, self.value(node.subject))]
        arms = [arm for arm in node.arms if arm.candidates]
        default = next((arm for arm in node.arms if arm.candidates is None), None)
        chains: list[list[tuple[ast.expr, ast.expr]]] = []
        for number, arm in enumerate(arms):
            if number % _ARMS_A_CHAIN == 0:
                chains.append([])
            tests = [self.conditionally(lambda c=one: self.equality("==", held, c)) for one in arm.candidates or ()]  # type: ignore[misc]
            value = self.conditionally(lambda arm=arm: self.value(arm.value))  # type: ignore[misc]
            chains[-1].append((b.any_of(tests), value))
        if default is not None:
            last = self.conditionally(lambda: self.value(default.value))
        else:
            last = b.call("unmatched", b.name(subject))
        if not chains:
            return b.last_of([*steps, last])
        for number, chain in enumerate(chains):
            result = last if len(chains) == 1 else b.name("UNSET")
            for test, value in reversed(chain):
                result = b.choose(test, value, result)
            if len(chains) == 1:
                return b.last_of([*steps, result])
            if number:
                missed = b.compare(b.name(found), "is", b.name("UNSET"))
                result = b.choose(missed, result, b.name(found))
            steps.append(b.walrus(found, result))
        missed = b.compare(b.name(found), "is", b.name("UNSET"))
        return b.last_of([*steps, b.choose(missed, last, b.name(found))])
