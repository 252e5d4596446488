"""The values of HSL and its operators, written naively from the language's description: what the compiler is held against.

In: plain values. Out: values, or `Fault` with the code of the error that a script sees. Shares nothing with `hslpy.lang`:
arrays are copied whole wherever a value goes, numbers and texts are converted in the plainest way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

Value = Any  # None | bool | float | str | Arr | Func | Obj | Foreign
TOO_LONG = 20_000  # characters or elements: what grows beyond is no test of rules


class Fault(Exception):
    """A script error: its code, and the value where a script threw it."""

    def __init__(self, code: str, value: Value = None) -> None:
        super().__init__(code)
        self.code = code
        self.value = value
        self.line = 0


class Skip(Exception):
    """The program is of no use: too long a run, or something that the oracle does not know."""


class Arr:
    """An array. `next` is the next automatic key."""

    def __init__(self) -> None:
        self.items: dict[int | str, Value] = {}
        self.next = 0

    def put(self, key: int | str, value: Value) -> None:
        self.items[key] = value
        if isinstance(key, int):
            self.next = max(self.next, key + 1)
        if len(self.items) > TOO_LONG:
            raise Skip

    def add(self, value: Value) -> None:
        self.put(self.next, value)


class Func:
    """A function value: `call` takes the arguments; `required` and `most` bound their number."""

    def __init__(self, name: str | None, call: Callable[[list[Value]], Value], required: int, most: int | None) -> None:
        self.name = name
        self.call = call
        self.required = required
        self.most = most


class Obj:
    """An object of a class. `kind` is the class, whatever that is to the interpreter."""

    def __init__(self, name: str, kind: Any) -> None:
        self.name = name
        self.kind = kind
        self.fields: dict[int | str, Value] = {}


class Foreign:
    """A value of the library's: a regex, or an object of a builtin class."""

    def __init__(self, value: Any, name: str, is_object: bool) -> None:
        self.value = value
        self.name = name
        self.is_object = is_object


def listed(values: Any) -> Arr:
    result = Arr()
    for value in values:
        result.add(value)
    return result


def copied(value: Value) -> Value:
    """Give the value as another place holds it."""
    if not isinstance(value, Arr):
        return value
    result = Arr()
    result.items = {key: copied(item) for key, item in value.items.items()}
    result.next = value.next
    return result


def is_number(value: Value) -> bool:
    return isinstance(value, float)


# ---- conversions ------------------------------------------------------------------------------------


def truth(value: Value) -> bool:
    if value is None:
        return False
    if isinstance(value, Arr):
        return len(value.items) > 0
    if isinstance(value, str):
        return len(value) > 0
    if isinstance(value, (bool, float)):
        return value != 0
    return True


def number_of(value: Value) -> float:
    """Give `number(value)`."""
    if isinstance(value, (bool, float)):
        return float(value)
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", value):
            try:
                return float(int(value, 16))
            except OverflowError:
                return -math.inf if value[0] == "-" else math.inf
        if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
            return float(value)
    return 0.0


def text_of_number(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == math.floor(value) and abs(value) < 1e21:
        return f"{value:.0f}" if value else "0"
    return repr(value)


def text_in_array(value: Value) -> str:
    if isinstance(value, str):
        return '"' + "".join("\\" + letter if letter in '"\\' else letter for letter in value) + '"'
    return echo_text(value)


def echo_text(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return text_of_number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Arr):
        parts = []
        for key, item in value.items.items():
            parts.append((str(key) if isinstance(key, int) else text_in_array(key)) + "=>" + text_in_array(item))
        return "[" + ",".join(parts) + "]"
    if isinstance(value, Func):
        return f"<function {value.name}>" if value.name else "<function>"
    if isinstance(value, Foreign) and not value.is_object:
        return f"#/{value.value.pattern}/{value.value.modifiers}"
    return f"<object {value.name}>"


def text_of(value: Value) -> str:
    """Give the text that concatenation uses."""
    if value is None:
        raise Fault("R121")
    return echo_text(value)


def key_of(value: Value) -> int | str:
    """Give the key that arrays hold."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if math.isinf(value) or math.isnan(value):
            raise Fault("R125")
        return math.trunc(value)
    if isinstance(value, str):
        if re.fullmatch(r"0|-?[1-9][0-9]*", value) and abs(int(value)) < 2**53:
            return int(value)
        return value
    raise Fault("R125")


# ---- comparison -------------------------------------------------------------------------------------


def kind(value: Value) -> str:
    if isinstance(value, Foreign):
        return "object" if value.is_object else "regex"
    names = {
        type(None): "none",
        bool: "boolean",
        float: "number",
        str: "string",
        Arr: "array",
        Func: "function",
        Obj: "object",
    }
    return names[type(value)]


def identical(a: Value, b: Value) -> bool:
    if kind(a) != kind(b):
        return False
    if isinstance(a, Arr):
        if list(a.items) != list(b.items):
            return False
        return all(identical(item, b.items[key]) for key, item in a.items.items())
    if isinstance(a, Foreign):
        if a.is_object:
            return a.value is b.value
        return (a.value.pattern, a.value.modifiers) == (b.value.pattern, b.value.modifiers)
    if isinstance(a, (Func, Obj)):
        return a is b
    return bool(a == b)


def equal(a: Value, b: Value) -> bool:
    kinds = (kind(a), kind(b))
    if kinds[0] == kinds[1]:
        return identical(a, b)
    if "none" in kinds:
        return False
    if kinds[0] == "boolean" or (kinds[0] == "number" and kinds[1] != "boolean"):
        return _equal_to(a, b)
    if kinds[1] in ("boolean", "number"):
        return _equal_to(b, a)
    return False


def _equal_to(a: Value, b: Value) -> bool:
    if isinstance(a, bool):
        return float(a) == b if isinstance(b, float) else a == truth(b)
    return bool(a == (number_of(b) if isinstance(b, str) else float(truth(b))))


def order(a: Value, b: Value) -> tuple[Any, Any]:
    """Give what `<` and its kin compare."""
    if isinstance(a, str) and isinstance(b, str):
        return a, b
    for value in (a, b):
        if kind(value) not in ("number", "string", "boolean"):
            raise Fault("R124")
    return number_of(a), number_of(b)


# ---- operators --------------------------------------------------------------------------------------


def operand(value: Value) -> float:
    if kind(value) not in ("number", "string", "boolean"):
        raise Fault("R122")
    return number_of(value)


def merged(a: Arr, b: Arr) -> Arr:
    result = copied(a)
    for key, value in b.items.items():
        if isinstance(key, str):
            result.put(key, copied(value))
        else:
            result.add(copied(value))
    return result


def add(a: Value, b: Value) -> Value:
    if isinstance(a, Arr):
        return merged(a, b if isinstance(b, Arr) else listed([copied(b)]))
    return operand(a) + operand(b)


def subtract(a: Value, b: Value) -> Value:
    if not isinstance(a, Arr):
        return operand(a) - operand(b)
    unwanted = list(b.items.values()) if isinstance(b, Arr) else [b]
    result = copied(a)
    for key, value in a.items.items():
        if any(identical(value, other) for other in unwanted):
            del result.items[key]
    return result


def multiply(a: Value, b: Value) -> Value:
    if isinstance(a, (str, Arr)) or isinstance(b, (str, Arr)):
        thing, count = (a, b) if isinstance(a, (str, Arr)) else (b, a)
        if kind(count) not in ("number", "boolean"):
            raise Fault("R122")
        count = float(count)
        if math.isinf(count) or math.isnan(count):
            raise Fault("R108")
        times = max(0, math.trunc(count))
        if times * len(thing if isinstance(thing, str) else thing.items) > TOO_LONG or times > TOO_LONG:
            raise Skip
        if isinstance(thing, str):
            return thing * times
        result = Arr()
        for _ in range(times):
            result = merged(result, thing)
        return result
    return operand(a) * operand(b)


def divide(a: Value, b: Value) -> float:
    x, y = operand(a), operand(b)
    if y == 0:
        raise Fault("R123")
    return x / y


def modulo(a: Value, b: Value) -> Value:
    if isinstance(a, str):
        return filled(a, b)
    x, y = operand(a), operand(b)
    if math.isnan(x) or math.isinf(x) or math.isnan(y):
        return math.nan
    if math.isinf(y):
        return float(math.trunc(x))
    if math.trunc(y) == 0:
        raise Fault("R123")
    left = abs(math.trunc(x)) % abs(math.trunc(y))
    return math.copysign(float(left), x)


def power(a: Value, b: Value) -> float:
    x, y = operand(a), operand(b)
    if x == 0 and y < 0:
        raise Fault("R123")
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.nan


def word(value: Value) -> int:
    """Give an operand of the bit operators, as 32 bits with a sign."""
    number = operand(value)
    if math.isnan(number) or math.isinf(number):
        return 0
    return signed(math.trunc(number))


def signed(bits: int) -> int:
    bits %= 2**32
    return bits - 2**32 if bits >= 2**31 else bits


def bits(op: str, a: Value, b: Value) -> float:
    x, y = word(a), word(b)
    if op == "&":
        return float(x & y)
    if op == "|":
        return float(x | y)
    if op == "^":
        return float(x ^ y)
    if op == "<<":
        return float(signed(x << y % 32))
    if op == ">>":
        return float(x >> y % 32)
    return float((x % 2**32) >> y % 32)


def joined(a: Value, b: Value) -> str:
    text = text_of(a) + text_of(b)
    if len(text) > TOO_LONG:
        raise Skip
    return text


BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "==": equal,
    "!=": lambda a, b: not equal(a, b),
    "===": identical,
    "!==": lambda a, b: not identical(a, b),
    "<": lambda a, b: (lambda x: x[0] < x[1])(order(a, b)),
    ">": lambda a, b: (lambda x: x[0] > x[1])(order(a, b)),
    "<=": lambda a, b: (lambda x: x[0] <= x[1])(order(a, b)),
    ">=": lambda a, b: (lambda x: x[0] >= x[1])(order(a, b)),
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
    "**": power,
    ".": joined,
    **{op: (lambda a, b, op=op: bits(op, a, b)) for op in ("&", "|", "^", "<<", ">>", ">>>")},
}


def unary(op: str, value: Value) -> Value:
    if op in ("!", "not"):
        return not truth(value)
    if op == "~":
        return float(signed(~word(value)))
    return -operand(value)


# ---- formatting -------------------------------------------------------------------------------------

_FORMAT = re.compile(r"%(?:\[(\d+)\])?(?:'(.))?([<>^=])?(\d+)?(?:\.(\d+))?(.)", re.DOTALL)


def filled(template: str, values: Value) -> str:
    """Give `template % values`."""
    if not isinstance(values, Arr):
        raise Fault("R127")
    given = list(values.items.values())
    result, at, number = "", 0, 0
    while at < len(template):
        if template[at] != "%":
            result += template[at]
            at += 1
            continue
        if template[at + 1 : at + 2] == "%":
            result += "%"
            at += 2
            continue
        found = _FORMAT.match(template, at)
        if found is None:
            raise Fault("R127")
        at = found.end()
        if found[1]:
            number = int(found[1])
        if number >= len(given) or found[6] not in "sfxcb":
            raise Fault("R127")
        result += _one(found, given[number])
        number += 1
    return result


def _one(found: re.Match[str], value: Value) -> str:
    fill, align, width, precision, letter = found[2] or " ", found[3], int(found[4] or 0), found[5], found[6]
    if letter == "s":
        text = text_of(value)
        text = text[: int(precision)] if precision is not None else text
    else:
        if kind(value) not in ("number", "string", "boolean"):
            raise Fault("R127")
        number = number_of(value)
        if letter == "f":
            if precision is None or math.isinf(number) or math.isnan(number):
                text = text_of_number(number)
            else:
                text = f"{number:.{int(precision)}f}"
                if float(text) == 0:
                    text = text.lstrip("-")
        elif math.isinf(number) or math.isnan(number):
            raise Fault("R127")
        elif letter == "c":
            if not 0 <= math.trunc(number) < 256:
                raise Fault("R127")
            text = chr(math.trunc(number))
        else:
            text = ("-" if number <= -1 else "") + f"{abs(math.trunc(number)):{letter}}"
    if align is None:
        align = "<" if letter in "sc" else ">"
    pad = max(0, width - len(text))
    if align == "<":
        return text + fill * pad
    if align == "^":
        return fill * (pad // 2) + text + fill * (pad - pad // 2)
    if align == "=" and text.startswith("-"):
        return "-" + fill * pad + text[1:]
    return fill * pad + text


# ---- slices -----------------------------------------------------------------------------------------


def bound(value: Value) -> int | None:
    if value is None:
        return None
    if kind(value) not in ("number", "string", "boolean"):
        raise Fault("R126")
    number = number_of(value)
    if math.isnan(number):
        raise Fault("R126")
    return math.trunc(max(-1e15, min(1e15, number)))


def positions(first: Value, last: Value, step: Value, size: int) -> list[int]:
    """Give the positions of a slice, in its order."""
    stride = bound(step)
    if stride == 0:
        raise Fault("R126")
    start, stop = bound(first), bound(last)
    by = 1 if stride is None else stride
    lowest, highest = (0, size) if by > 0 else (-1, size - 1)

    def clamped(position: int | None, otherwise: int) -> int:
        if position is None:
            return otherwise
        return min(max(position + size if position < 0 else position, lowest), highest)

    at, end = clamped(start, lowest if by > 0 else highest), clamped(stop, highest if by > 0 else lowest)
    result = []
    while at < end if by > 0 else at > end:
        result.append(at)
        at += by
    return result


def sliced(value: Value, first: Value, last: Value, step: Value) -> Value:
    """Give `value[first:last:step]`."""
    size = len(value) if isinstance(value, str) else len(value.items) if isinstance(value, Arr) else 0
    chosen = positions(first, last, step, size)
    if value is None:
        return None
    if isinstance(value, str):
        return "".join(value[at] for at in chosen)
    if isinstance(value, Arr):
        items = list(value.items.values())
        return listed(copied(items[at]) for at in chosen)
    raise Fault("R126")


def with_slice(value: Value, first: Value, last: Value, step: Value, new: Value) -> Value:
    """Give `value` after `value[first:last:step] = new`."""
    size = len(value) if isinstance(value, str) else len(value.items) if isinstance(value, Arr) else 0
    chosen = positions(first, last, step, size)
    stride = bound(step)
    if value is not None and not isinstance(value, (str, Arr)):
        raise Fault("R126")
    if isinstance(value, str) != isinstance(new, str) or not isinstance(new, (str, Arr)):
        raise Fault("R126")
    items = list(value) if isinstance(value, str) else list(value.items.values()) if value is not None else []
    inserted = list(new) if isinstance(new, str) else list(copied(new).items.values())
    if stride not in (None, 1):
        if isinstance(value, str) or len(chosen) != len(inserted):
            raise Fault("R126")
        for at, item in zip(chosen, inserted, strict=True):
            items[at] = item
    else:
        start = bound(first) or 0
        start = min(max(start + size if start < 0 else start, 0), size)
        items[start : start + len(chosen)] = inserted
    return "".join(items) if isinstance(value, str) else listed(items)
