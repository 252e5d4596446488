"""A compiled program bound to what it calls. In: `Compiled`, from the compiler or the cache. Out: a `Program` that can run.

Knows nothing of the compiler, which a server whose scripts are in the cache never imports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any, cast

from hslpy.errors import ScriptError
from hslpy.lang import older, operators, runtime, sharing
from hslpy.lang.data import Constants, DataImports, Give, array_of_constants
from hslpy.lang.declare import Builtin
from hslpy.lang.iterators import numbered
from hslpy.lang.program import Program
from hslpy.lang.quick import quickest_search
from hslpy.lang.run import BoundBuiltin
from hslpy.lang.source import Source, Span
from hslpy.lang.values import Array, HslFunction, HslObject, Regex, Resource
from hslpy.records import dataclass

Link = tuple[str, str, object]  # global name, kind (function, row, types, regex), what

IN_NUMBERS = "in numbers: "


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled program as plain data. `spans` are (source number, start, end)."""

    code: CodeType
    file: str
    spans: tuple[tuple[int, int, int], ...]
    names: dict[str, str | None]
    variables: dict[str, str]
    links: tuple[Link, ...]
    reads: frozenset[str]


def link(compiled: Compiled, sources: Sequence[Source], builtins: Mapping[str, Builtin], data: DataImports) -> Program:
    """Bind a compiled program to the builtins and the data it imports, and give what can be executed."""
    space: dict[str, Any] = dict(_GLOBALS)
    for name, kind, what in compiled.links:
        if kind == "data":
            space[name] = _data(data, sources, *cast(tuple[str, str, Constants], what))
        else:
            space[name] = _bind(kind, what, builtins)
    exec(compiled.code, space)
    spans = tuple(Span(sources[number], start, end) for number, start, end in compiled.spans)
    methods = {key: row for key, row in builtins.items() if "->" in key}
    return Program(
        space["program"],
        compiled.file,
        spans,
        compiled.names,
        compiled.variables,
        tuple(sources),
        compiled.reads,
        methods,
    )


def _data(data: DataImports, sources: Sequence[Source], kind: str, path: str, options: Constants) -> Give:
    assert data.read is not None
    return data.read(kind, next(source for source in sources if source.path == path), options)


def _bind(kind: str, what: Any, builtins: Mapping[str, Builtin]) -> Any:
    if kind in ("function", "row"):
        row = older.in_numbers(builtins[what.removeprefix(IN_NUMBERS)]) if what.startswith(IN_NUMBERS) else builtins[what]
        return row.function if kind == "function" else row
    if kind == "types":
        return frozenset(kind for name in what for kind in _KINDS[name])
    if kind == "array":
        return array_of_constants(what)
    if kind == "regex":
        return Regex(*what)
    if kind == "search":
        return quickest_search(*what)[0]
    if kind == "below":
        return quickest_search(*what)[1]
    raise ValueError(kind)


_KINDS: dict[str, tuple[type, ...]] = {
    "none": (type(None),),
    "boolean": (bool,),
    "number": (float,),
    "string": (str,),
    "array": (Array,),
    "function": (HslFunction, BoundBuiltin),
    "object": (HslObject,),
    "resource": (Resource,),
    "Regex": (Regex,),
}

_OPERATORS = [
    "add",
    "add_into",
    "bit_and",
    "bit_not",
    "bit_or",
    "bit_xor",
    "divide",
    "get_slice",
    "identical",
    "key_of_text",
    "less",
    "less_equal",
    "loose_equal",
    "modulo",
    "multiply",
    "negate",
    "normalise_key",
    "power",
    "set_slice",
    "shift_left",
    "shift_right",
    "shift_right_unsigned",
    "subtract",
    "to_echo",
    "unset_slice",
    "unshare",
]
_RUNTIME = [
    "Method",
    "ClassInfo",
    "UNSET",
    "about_to_grow",
    "add_assign",
    "at",
    "at_quietly",
    "call_bound",
    "call_member",
    "call_spread",
    "caught",
    "deeper",
    "element_holder",
    "fact",
    "fact_holder",
    "fact_or_none",
    "fitting",
    "grown",
    "has",
    "holder_of",
    "inner",
    "invoking",
    "iterate",
    "iterate_pairs",
    "join",
    "matched",
    "missing",
    "object_of",
    "paced",
    "peek",
    "pick",
    "put",
    "put_slice",
    "ready",
    "remove",
    "rest_array",
    "rest_of",
    "set_fact",
    "spread_args",
    "spread_into",
    "step_value",
    "text",
    "throw",
    "unmatched",
    "unset_fact",
    "wrong",
]
_OLDER = ["add_or_join", "as_numbers", "call_member_in_numbers", "modulo_numbers", "multiply_numbers"]
_SHARING = ["cached", "enter_barrier", "leave_barrier", "method_name"]
_GLOBALS: dict[str, Any] = {
    "__builtins__": {},
    "Array": Array,
    "BoundBuiltin": BoundBuiltin,
    "HslFunction": HslFunction,
    "HslObject": HslObject,
    "Resource": Resource,
    "bool": bool,
    "float": float,
    "frozenset": frozenset,
    "id": id,
    "int": int,
    "len": len,
    "str": str,
    # what `catch` looks at; `caught` lets rise what is no error of the script
    "CATCHABLE": (ScriptError, NameError, ArithmeticError, LookupError, ValueError, RecursionError, MemoryError),
    "numbered": numbered,
    **{name: getattr(operators, name) for name in _OPERATORS},
    **{name: getattr(runtime, name) for name in _RUNTIME},
    **{name: getattr(older, name) for name in _OLDER},
    **{name: getattr(sharing, name) for name in _SHARING},
}
