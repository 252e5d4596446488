"""What HSL's operators do with values: the slow paths that compiled code calls, and all rules in one place.

In: plain values; functions that may allocate or loop take the run first, as a `Budget`. Out: values, or ScriptError
R1xx in the script's words. The other three modules of operator rules are re-exported here. Source: the HSL
manual, Operators; deviations.md.
"""

from __future__ import annotations

import math

from hslpy.errors import ScriptError
from hslpy.lang.budget import Budget, charge_text
from hslpy.lang.conversions import (
    array_text,
    format_number,
    key_of_text,
    key_value,
    normalise_key,
    to_echo,
    to_integer,
    to_number,
    to_string,
    truth,
)
from hslpy.lang.formatting import format_percent
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.indexing import copy_items, get_index, get_slice, set_slice, unset_slice, unshare
from hslpy.lang.values import Array, Key, Value, identical, own, type_name

__all__ = [
    "Budget",
    "add",
    "add_into",
    "array_text",
    "bit_and",
    "bit_not",
    "bit_or",
    "bit_xor",
    "copy_items",
    "divide",
    "format_number",
    "format_percent",
    "get_index",
    "get_slice",
    "identical",
    "key_of_text",
    "key_value",
    "less",
    "less_equal",
    "loose_equal",
    "modulo",
    "multiply",
    "negate",
    "normalise_key",
    "power",
    "repeat",
    "set_slice",
    "shift_left",
    "shift_right",
    "shift_right_unsigned",
    "subtract",
    "to_echo",
    "to_integer",
    "to_number",
    "to_string",
    "truth",
    "unset_slice",
    "unshare",
]


# Comparison


def loose_equal(run: Budget | None, left: Value, right: Value) -> bool:
    """Give `==`. Source: the HSL manual, loose equality."""
    a, b = left.__class__, right.__class__
    if a is b:
        return identical(run, left, right)
    if left is None or right is None:
        return False
    if a is bool:
        return to_number(left) == right if b is float else left is truth(right)
    if b is bool:
        return to_number(right) == left if a is float else right is truth(left)
    if a is float:
        return bool(left == (to_number(right) if b is str else float(truth(right))))
    if b is float:
        return bool(right == (to_number(left) if a is str else float(truth(left))))
    return False


def _ordered(left: Value, right: Value, operator: str) -> tuple[float, float]:
    for value in (left, right):
        if value.__class__ not in _COMPARED:
            raise ScriptError("R124", f"`{operator}` cannot compare {type_name(left)} with {type_name(right)}")
    return to_number(left), to_number(right)


_COMPARED = (float, str, bool)


def less(run: Budget, left: Value, right: Value, operator: str = "<") -> bool:
    """Give `left < right`. `operator` is what an error text names. Source: deviations.md."""
    if left.__class__ is right.__class__ and (left.__class__ is float or left.__class__ is str):
        if left.__class__ is str:
            charge_text(run, left, right)
        return bool(left < right)
    a, b = _ordered(left, right, operator)
    return a < b


def less_equal(run: Budget, left: Value, right: Value, operator: str = "<=") -> bool:
    """Give `left <= right`."""
    if left.__class__ is right.__class__ and (left.__class__ is float or left.__class__ is str):
        if left.__class__ is str:
            charge_text(run, left, right)
        return bool(left <= right)
    a, b = _ordered(left, right, operator)
    return a <= b


# Arithmetic


def _operand(value: Value, operator: str, left: Value, right: Value) -> float:
    kind = value.__class__
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is bool or kind is str:
        return to_number(value)
    raise ScriptError("R122", f"`{operator}` wants numbers, got {type_name(left)} and {type_name(right)}")


def add(run: Budget, left: Value, right: Value) -> Value:
    """Give `left + right`: the sum, or for an array on the left the merge or the array with one element more."""
    if left.__class__ is not Array:
        return _operand(left, "+", left, right) + _operand(right, "+", left, right)
    return add_into(run, Array(copy_items(run, left), left.next_index), right)


def add_into(run: Budget, target: Array, right: Value) -> Array:
    """Do `target += right` in place and give `target`, which must be the caller's own."""
    unshare(run, target)
    if right.__class__ is Array:
        _book_elements(run, len(right.items))
        source = Array(right.items.copy(), 0) if right.items is target.items else right
        _merge(run, target, source)
    else:
        target.append(own(right))
    return target


def _book_elements(run: Budget, count: int) -> None:
    if count > 64:
        run.charge(count >> 4)
        run.reserve(count * ELEMENT_BYTES)


def _merge(run: Budget, target: Array, source: Array) -> None:
    """Put the elements of `source` after those of `target`, which the caller owns unshared."""
    items, index = target.items, target.next_index
    for count, (key, value) in enumerate(source.items.items(), 1):
        if value.__class__ is Array:
            value = value.share()
        if key.__class__ is str:
            items[key] = value
        else:
            items[index] = value
            index += 1
        if count & 1023 == 0:
            run.charge(128)
    target.next_index = index


def subtract(run: Budget, left: Value, right: Value) -> Value:
    """Give `left - right`: the difference, or the array without the strictly equal values; keys stay."""
    if left.__class__ is not Array:
        return _operand(left, "-", left, right) - _operand(right, "-", left, right)
    unwanted = list(right.items.values()) if right.__class__ is Array else [right]
    simple = {(value.__class__, value) for value in unwanted if value.__class__ in _HASHED}
    others = [value for value in unwanted if value.__class__ not in _HASHED]
    _book_elements(run, len(left.items))
    items: dict[Key, Value] = {}
    for count, (key, value) in enumerate(left.items.items(), 1):
        if count & 1023 == 0:
            run.charge(128)
        if value.__class__ in _HASHED:
            if (value.__class__, value) in simple:
                continue
        else:
            run.charge(1 + len(others) // 8)
            if any(identical(run, value, other) for other in others):
                continue
        items[key] = own(value)
    return Array(items, left.next_index)


_HASHED = (str, float, bool, type(None))  # kinds whose identity a Python set tells; nan never equals nan in HSL either


def multiply(run: Budget, left: Value, right: Value) -> Value:
    """Give `left * right`: the product, or a string or array repeated, the count on either side."""
    a, b = left.__class__, right.__class__
    if a is str or a is Array:
        if b is not float and b is not bool:
            raise ScriptError("R122", f"`*` wants a number beside {_a(left)}, got {type_name(right)}")
        return repeat(run, left, to_number(right))
    if b is str or b is Array:
        if a is not float and a is not bool:
            raise ScriptError("R122", f"`*` wants a number beside {_a(right)}, got {type_name(left)}")
        return repeat(run, right, to_number(left))
    return _operand(left, "*", left, right) * _operand(right, "*", left, right)


def _a(value: Value) -> str:
    return "an array" if value.__class__ is Array else "a string"


def repeat(run: Budget, value: Value, count: float) -> Value:
    """Give a string or an array `count` times over; a count below 1 gives an empty one."""
    times = max(0, to_integer(count, "the number of repetitions"))
    if value.__class__ is str:
        run.reserve_text(len(value) * times)
        return value * times
    result = Array({}, 0)
    _book_elements(run, len(value.items) * times)
    if not value.items:
        return result
    for _ in range(times):
        _merge(run, result, value)
        run.charge(1)
    return result


def divide(left: Value, right: Value) -> float:
    """Give `left / right`. Raises ScriptError R123 for a zero divisor."""
    a, b = _operand(left, "/", left, right), _operand(right, "/", left, right)
    if b == 0:
        raise ScriptError("R123", "division by zero")
    return a / b


def modulo(run: Budget, left: Value, right: Value) -> Value:
    """Give `left % right`: formatting where the left is a string, else the remainder with the left's sign.

    Operands are truncated: `-5 % 3` is -2, `7.9 % 3` is 1. Source: deviations.md.
    """
    if left.__class__ is str:
        return format_percent(run, left, right)
    a, b = _operand(left, "%", left, right), _operand(right, "%", left, right)
    if math.isinf(a) or math.isnan(a) or math.isnan(b):
        return math.nan
    a = math.trunc(a)
    if not math.isinf(b):
        b = math.trunc(b)
        if b == 0:
            raise ScriptError("R123", "modulus by zero")
    return math.fmod(a, b)


def power(left: Value, right: Value) -> float:
    """Give `left ** right` as IEEE arithmetic does: too large is infinity, a root of a negative number is nan."""
    a, b = _operand(left, "**", left, right), _operand(right, "**", left, right)
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        if a == 0:
            raise ScriptError("R123", "division by zero: 0 to a negative power") from None
        return math.nan


def negate(value: Value) -> float:
    """Give `-value`."""
    if value.__class__ not in _COMPARED:
        raise ScriptError("R122", f"`-` wants a number, got {type_name(value)}")
    return -to_number(value)


# Bits: operands become 32-bit signed integers, wrapping; not finite ones become 0


def _bits(value: Value, operator: str) -> int:
    if value.__class__ not in _COMPARED:
        raise ScriptError("R122", f"`{operator}` wants numbers, got {type_name(value)}")
    number = to_number(value)
    if math.isinf(number) or math.isnan(number):
        return 0
    return int(number) & 0xFFFFFFFF


def _signed(bits: int) -> float:
    bits &= 0xFFFFFFFF
    return float(bits - 0x100000000 if bits & 0x80000000 else bits)


def bit_and(left: Value, right: Value) -> float:
    """Give `left & right`."""
    return _signed(_bits(left, "&") & _bits(right, "&"))


def bit_or(left: Value, right: Value) -> float:
    """Give `left | right`."""
    return _signed(_bits(left, "|") | _bits(right, "|"))


def bit_xor(left: Value, right: Value) -> float:
    """Give `left ^ right`."""
    return _signed(_bits(left, "^") ^ _bits(right, "^"))


def bit_not(value: Value) -> float:
    """Give `~value`."""
    return _signed(~_bits(value, "~"))


def shift_left(left: Value, right: Value) -> float:
    """Give `left << right`; the count is taken modulo 32."""
    return _signed(_bits(left, "<<") << (_bits(right, "<<") & 31))


def shift_right(left: Value, right: Value) -> float:
    """Give `left >> right`, keeping the sign."""
    return float(int(_signed(_bits(left, ">>"))) >> (_bits(right, ">>") & 31))


def shift_right_unsigned(left: Value, right: Value) -> float:
    """Give `left >>> right`, filling with zero; the result is 0 or more."""
    return float(_bits(left, ">>>") >> (_bits(right, ">>>") & 31))
