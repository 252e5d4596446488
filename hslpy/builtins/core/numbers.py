"""Arithmetic functions and chance. In: numbers and the run's randomness. Out: numbers, random bytes, unique ids."""

from __future__ import annotations

import hashlib
import math

from hslpy.builtins.core.arguments import as_text, whole
from hslpy.errors import ScriptError
from hslpy.lang import operators
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Value
from hslpy.late import decimal
from hslpy.late import uuid as uuids

TOPIC = Topic("numbers")

MOST_RANDOM_BYTES = 1 << 20  # HSL manual, random_bytes
_MOST_DECIMALS = 400  # beyond, no double changes
_EXACT_DIGITS = 800


@TOPIC.builtin("abs(number: number) -> number", effect=Effect.PURE, examples=["abs(-1.5)  // 1.5"])
def abs_(number: float) -> float:
    """Give the absolute value."""
    return abs(number)


@TOPIC.builtin("ceil(number: number) -> number", effect=Effect.PURE, examples=["ceil(1.2)  // 2", "ceil(-1.2)  // -1"])
def ceil(number: float) -> float:
    """Round up to an integer."""
    return float(math.ceil(number)) if math.isfinite(number) else number


@TOPIC.builtin("floor(number: number) -> number", effect=Effect.PURE, examples=["floor(1.8)  // 1", "floor(-1.2)  // -2"])
def floor(number: float) -> float:
    """Round down to an integer."""
    return float(math.floor(number)) if math.isfinite(number) else number


@TOPIC.builtin(
    "round(number: number, [decimals: number = 0]) -> number",
    effect=Effect.PURE,
    examples=["round(2.5)  // 3", "round(-2.5)  // -3", "round(1.005, 2)  // 1.01", "round(1234, -2)  // 1200"],
)
def round_(number: float, decimals: float = 0.0) -> float:
    """Round to `decimals` places, halves away from zero, taking the number as it prints."""
    places = whole(decimals, "round() wants `decimals`")
    if not math.isfinite(number) or places > _MOST_DECIMALS:
        return number
    if places < -_MOST_DECIMALS:
        return 0.0
    unit = decimal.Decimal(1).scaleb(-places)
    exact = decimal.Context(prec=_EXACT_DIGITS)
    return float(decimal.Decimal(repr(number)).quantize(unit, rounding=decimal.ROUND_HALF_UP, context=exact))


@TOPIC.builtin(
    "log(number: number, [base: number]) -> number", effect=Effect.PURE, examples=["log(1)  // 0", "log(8, 2)  // 3"]
)
def log(number: float, base: float | None = None) -> float:
    """Give the natural logarithm, or the one to `base`."""
    if number <= 0:
        raise ScriptError("R108", f"log() wants `number` above 0, got {format_number(number)}")
    if base is None:
        return math.log(number)
    if base <= 0 or base == 1:
        raise ScriptError("R108", f"log() wants `base` above 0 and not 1, got {format_number(base)}")
    if base in (2.0, 10.0) and math.isfinite(number):
        return math.log2(number) if base == 2.0 else math.log10(number)
    return math.log(number) / math.log(base)


@TOPIC.builtin("pow(base: number, exponent: number) -> number", effect=Effect.PURE, examples=["pow(2, 10)  // 1024"])
def pow_(base: float, exponent: float) -> float:
    """Give `base` to the power of `exponent`, as the operator `**` does."""
    return operators.power(base, exponent)


@TOPIC.builtin("sqrt(number: number) -> number", effect=Effect.PURE, examples=["sqrt(9)  // 3"])
def sqrt(number: float) -> float:
    """Give the square root."""
    if number < 0:
        raise ScriptError("R108", f"sqrt() wants `number` of at least 0, got {format_number(number)}")
    return math.sqrt(number)


def _between(call: Run, first: float, last: float, function: str) -> float:
    low, high = whole(first, f"{function}() wants its first number"), whole(last, f"{function}() wants its last number")
    return float(call.random.randint(min(low, high), max(low, high)))


@TOPIC.builtin(
    "random_number([first: number, [last: number]]) -> number",
    effect=Effect.READS,
    examples=["random_number(3, 3)  // 3", "random_number() <= 1  // true"],
)
def random_number(call: Run, first: float | None = None, last: float | None = None) -> float:
    """Give a random integer from `first` to `last`, both included, or without arguments a fraction from 0 to 1."""
    if first is None:
        return call.random.random()
    if last is None:
        return _between(call, 0.0, first, "random_number")
    return _between(call, first, last, "random_number")


@TOPIC.builtin(
    "rand(x: number, y: number) -> number",
    effect=Effect.READS,
    examples=["rand(3, 3)  // 3"],
    deprecated="use random_number()",
)
def rand(call: Run, x: float, y: float) -> float:
    """Give a random integer from `x` to `y`, both included."""
    return _between(call, x, y, "rand")


@TOPIC.builtin("random_bytes(bytes: number) -> string", effect=Effect.READS, examples=["length(random_bytes(16))  // 16"])
def random_bytes(call: Run, bytes_: float) -> str:
    """Give that many random bytes, at most 1 MiB."""
    size = whole(bytes_, "random_bytes() wants `bytes`")
    if not 0 <= size <= MOST_RANDOM_BYTES:
        raise ScriptError("R108", f"random_bytes() wants `bytes` from 0 to {MOST_RANDOM_BYTES}, got {format_number(bytes_)}")
    call.reserve(size)
    parts = []
    for start in range(0, size, 16384):
        call.charge(64)
        parts.append(as_text(call.random.randbytes(min(16384, size - start))))
    return "".join(parts)


@TOPIC.builtin("uuid() -> string", effect=Effect.READS, examples=["length(uuid())  // 36"])
def uuid(call: Run) -> str:
    """Give a unique id made by chance (RFC 9562, version 4)."""
    return str(uuids.UUID(bytes=call.random.randbytes(16), version=4))


@TOPIC.builtin(
    "uuidv5(uuidnamespace: string, value: string) -> string",
    effect=Effect.PURE,
    examples=['uuidv5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "example.com")  // "cfbff0d1-9375-5685-968c-48ce8b15ae17"'],
)
def uuidv5(call: Run, uuidnamespace: str, value: str) -> Value:
    """Give the id of a name in a namespace, itself an id (RFC 9562, version 5)."""
    if len(uuidnamespace) > 64 or len(value) > 65_536:
        raise ScriptError("R108", "uuidv5() wants `uuidnamespace` as a UUID, and `value` of at most 65,536 bytes")
    call.charge(len(value) >> 9)
    try:
        namespace = uuids.UUID(uuidnamespace)
    except ValueError:
        raise ScriptError("R108", "uuidv5() wants `uuidnamespace` as a UUID") from None
    digest = hashlib.sha1(namespace.bytes + value.encode("latin-1"), usedforsecurity=False).digest()
    return str(uuids.UUID(bytes=digest[:16], version=5))
