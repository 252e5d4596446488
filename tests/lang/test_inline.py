"""The expressions that stand for calls of builtins give what the builtins give."""

from __future__ import annotations

import ast

import pytest

from hslpy.builtins import ALL
from hslpy.lang.declare import Builtin
from hslpy.lang.link import _GLOBALS
from hslpy.lang.run import Run, fits
from hslpy.lang.values import Array

ROWS = [row for row in ALL if row.inline]
VALUES = [None, True, 0.0, -2.5, "", "Abc", "\xc4\xe4\xffZz", "12", "x" * 5000, Array.of([]), Array.of(["a", 1.0])]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_inline_is_the_call(row: Builtin) -> None:
    parameter = row.signature.parameters[0]
    run = Run()

    def call(value: object) -> object:
        return row.function(run, value) if row.takes_call else row.function(value)

    tried = 0
    for name, text in row.inline.items():
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} - {parameter.name}
        assert names <= _GLOBALS.keys()
        compiled = compile(ast.parse(text.replace("...", "call_()"), mode="eval"), row.name, "eval")
        for value in VALUES:
            if fits(value, (name,) if name else parameter.types):
                space = {**_GLOBALS, parameter.name: value, "call_": lambda value=value: call(value)}
                found, wanted = eval(compiled, space), call(value)
                assert found == wanted and found.__class__ is wanted.__class__
                tried += 1
                assert not row.whole or found == found // 1.0
    assert tried


def test_there_are_some() -> None:
    assert {"count", "length", "number", "str_lower"} <= {row.name for row in ROWS}
