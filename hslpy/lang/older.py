"""What compiled code of an older profile calls: values and operators as earlier releases had them.

In: values and the run. Out: values. `resolve_profiles.py` says where; nothing of this is in a program of the newest
profile. Source: the HSL manual of 2015 to 2018; deviations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache as once
from functools import wraps

from hslpy.lang.budget import Budget
from hslpy.lang.declare import Builtin
from hslpy.lang.operators import add, modulo, multiply, to_number
from hslpy.lang.run import Run
from hslpy.lang.runtime import builtin_method, call_member, join
from hslpy.lang.values import Array, HslObject, Value
from hslpy.records import dataclass


def as_numbers(run: Budget, value: Value) -> Value:
    """Give a value with 1 and 0 for its booleans, those within arrays, too."""
    if value.__class__ is bool:
        return float(value)
    if value.__class__ is Array and _has_booleans(run, value):
        return _converted(run, value)
    return value


def _has_booleans(run: Budget, value: Array) -> bool:
    todo = [value]
    while todo:
        items = todo.pop().items
        run.charge(len(items) >> 6)
        for item in items.values():
            if item.__class__ is bool:
                return True
            if item.__class__ is Array:
                todo.append(item)
    return False


def _converted(run: Budget, value: Array) -> Array:
    run.reserve(len(value.items) * 100)
    result = Array({}, value.next_index)
    todo = [(value, result)]
    while todo:
        old, new = todo.pop()
        run.charge(len(old.items) >> 4)
        for key, item in old.items.items():
            if item.__class__ is Array:
                inner = Array({}, item.next_index)
                todo.append((item, inner))
                item = inner
            new.items[key] = float(item) if item.__class__ is bool else item
    return result


def add_or_join(run: Run, left: Value, right: Value) -> Value:
    """Give `left + right` where a string joins: `2 + 2 + "test"` is `4test`. An empty one leaves the other as it is, so
    that counters which begin as missing elements count."""
    if left.__class__ is Array or right.__class__ is Array:
        return add(run, left, right)
    left, right = "" if left is None else left, "" if right is None else right
    if left == "" or right == "":
        return right if left == "" else left
    if left.__class__ is str or right.__class__ is str:
        return join(run, (left, right))
    return add(run, left, right)


def multiply_numbers(run: Run, left: Value, right: Value) -> Value:
    """Give `left * right` where strings are numbers."""
    return multiply(run, _number(left), _number(right))


def modulo_numbers(run: Run, left: Value, right: Value) -> Value:
    """Give `left % right` where strings are numbers."""
    return modulo(run, _number(left), _number(right))


def _number(value: Value) -> Value:
    return to_number(value) if value.__class__ is str else value


# Builtins in a script whose booleans are numbers


@dataclass(frozen=True, slots=True)
class NumbersBuiltin(Builtin):
    """A builtin for such a script: it takes numbers for booleans, and gives 1 and 0."""


_WITHIN = frozenset({"boolean", "array", "any"})


@once
def in_numbers(row: Builtin) -> Builtin:
    """Give the row as such a script has it; the row itself where it has to do with no booleans."""
    gives = bool(_WITHIN & set(row.signature.returns)) or row.signature.returns[0][0].isupper()
    wants = any(_wants_boolean(parameter.types) for parameter in row.signature.parameters)
    if not gives and not wants:
        return row
    parameters = tuple(
        replace(each, types=(*each.types, "number")) if _wants_boolean(each.types) else each
        for each in row.signature.parameters
    )
    returns = tuple(dict.fromkeys("number" if name == "boolean" else name for name in row.signature.returns))
    fields = {name: getattr(row, name) for name in Builtin.__slots__}
    fields |= {
        "signature": replace(row.signature, parameters=parameters, returns=returns),
        "function": _wrapped(row),
        "takes_call": True,
        "inline": {},
    }
    return NumbersBuiltin(**fields)


def _wants_boolean(types: tuple[str, ...]) -> bool:
    return "boolean" in types and "number" not in types


def _wrapped(row: Builtin) -> Callable[..., Value]:
    function = row.function

    @wraps(function)
    def call_in_numbers(call: Run, *args: Value) -> Value:
        args = as_booleans(row, args)
        return as_numbers(call, function(call, *args) if row.takes_call else function(*args))

    return call_in_numbers


def as_booleans(row: Builtin, args: tuple[Value, ...]) -> tuple[Value, ...]:
    """Give the arguments with booleans for numbers where the builtin wants booleans."""
    parameters = row.signature.parameters
    last = len(parameters) - 1
    return tuple(
        bool(value) if value.__class__ is float and _wants_boolean(parameters[min(index, last)].types) else value
        for index, value in enumerate(args)
    )


def call_member_in_numbers(run: Run, base: Value, key: Value, inside: int, *args: Value) -> Value:
    """Do `base->key(args)`, of a builtin class as its functions."""
    if base.__class__ is HslObject:
        row = builtin_method(run, base, key)
        if row is not None and row.signature.parameters:
            args = as_booleans(row, args)
    return as_numbers(run, call_member(run, base, key, inside, *args))


__all__ = [
    "NumbersBuiltin",
    "add_or_join",
    "as_numbers",
    "call_member_in_numbers",
    "in_numbers",
    "modulo_numbers",
    "multiply_numbers",
]
