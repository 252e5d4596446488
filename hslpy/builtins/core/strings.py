"""Functions on strings of bytes, in both generations of names. In: strings and numbers. Out: strings, positions, arrays.

Letters are those of ASCII. What takes time or grows is charged to the run and reserved before.
"""

from __future__ import annotations

from hslpy.builtins.core.arguments import STRETCH, find_from, in_stretches, stretches, whole
from hslpy.errors import ScriptError
from hslpy.lang import operators
from hslpy.lang.conversions import WORTH_RESERVING, format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import TextBuilder, array_of
from hslpy.lang.run import Run, describe
from hslpy.lang.values import Array, Value

TOPIC = Topic("strings")

WHITE_SPACE = " \t\r\n"  # HSL manual, str_strip
_PART_BYTES = 150  # an array element holding a short string of its own
_MOST_PARTS = 1 << 62  # of a split: what a C integer holds
_SPLIT_STRETCH = 1 << 15  # bytes: up to as many parts, about a millisecond


def lower(text: str) -> str:
    """Give the text with ASCII letters in lower case; str.lower() would change bytes above 0x7f."""
    return text.lower() if text.isascii() else text.encode("latin-1").lower().decode("latin-1")


def upper(text: str) -> str:
    """Give the text with ASCII letters in upper case; str.upper() leaves latin-1 for some bytes."""
    return text.upper() if text.isascii() else text.encode("latin-1").upper().decode("latin-1")


# what costs little, inline; the functions do the rest
_LOWER = "{0}.lower() if {0}.isascii() and len({0}) < 1024 else ..."
_UPPER = "{0}.upper() if {0}.isascii() and len({0}) < 1024 else ..."


@TOPIC.builtin("chr(number: number) -> string", effect=Effect.PURE, examples=['chr(65)  // "A"'])
def chr_(number: float) -> str:
    """Give the byte with the code `number`, from 0 to 255."""
    code = whole(number, "chr() wants `number`")
    if not 0 <= code <= 255:
        raise ScriptError("R108", f"chr() wants `number` from 0 to 255, got {format_number(number)}")
    return chr(code)


@TOPIC.builtin("ord(character: string) -> number", effect=Effect.PURE, examples=['ord("A")  // 65'])
def ord_(character: str) -> float:
    """Give the code of the first byte."""
    if not character:
        raise ScriptError("R108", "ord() wants `character` as a string of at least one byte, got an empty one")
    return float(ord(character[0]))


@TOPIC.builtin(
    "str_repeat(string: string, multiplier: number) -> string",
    effect=Effect.PURE,
    examples=['str_repeat("ab", 3)  // "ababab"'],
)
def str_repeat(call: Run, string: str, multiplier: float) -> Value:
    """Give the string `multiplier` times over, as the operator `*` does."""
    return operators.repeat(call, string, multiplier)


@TOPIC.builtin(
    "str_replace(search: string, replace: string, subject: string) -> string",
    effect=Effect.PURE,
    examples=['str_replace("Hello", "Hej", "Hello World")  // "Hej World"', 'str_replace("a", "", "banana")  // "bnn"'],
)
def str_replace(call: Run, search: str, replace: str, subject: str) -> str:
    """Replace all occurrences of `search` in `subject`; an empty `search` is found nowhere."""
    if not search:
        return subject
    if len(subject) <= STRETCH:
        growth = len(replace) - len(search)
        if growth > 0:
            growth *= subject.count(search)
        if len(subject) + growth >= WORTH_RESERVING:
            call.reserve_text(len(subject) + growth)
            call.charge((len(subject) + max(growth, 0)) >> 8)
        return subject.replace(search, replace)
    result = TextBuilder(call)
    start = 0
    while True:
        at = find_from(call, subject, search, start)
        if at < 0:
            break
        result.add(subject[start:at])
        result.add(replace)
        start = at + len(search)
    result.add(subject[start:])
    return result.text()


def _split(call: Run, text: str, delimiter: str, limit: float, function: str) -> Array:
    if not delimiter:
        raise ScriptError("R108", f"{function}() wants a `delimiter` of at least one byte, got an empty one")
    most = max(-_MOST_PARTS, min(_MOST_PARTS, whole(limit, f"{function}() wants `limit`")))
    if len(text) > _SPLIT_STRETCH:
        found = sum(part.count(delimiter) for part in stretches(call, text))
        call.reserve(min(found, abs(most) or found) * _PART_BYTES + len(text))
    if len(text) <= _SPLIT_STRETCH or most < 0 or _overlaps_itself(delimiter):
        return array_of(call, text.rsplit(delimiter, -most - 1) if most < 0 else text.split(delimiter, most - 1))
    parts: list[Value] = []
    start = 0
    while len(text) - start > _SPLIT_STRETCH:
        at = text.rfind(delimiter, start, start + _SPLIT_STRETCH)
        if at < 0:
            at = find_from(call, text, delimiter, start + _SPLIT_STRETCH - len(delimiter) + 1)
        if at < 0:
            break
        more = text[start:at].split(delimiter)
        if most and len(parts) + len(more) >= most:
            break
        call.charge(32 + (len(more) >> 3))
        parts.extend(more)
        start = at + len(delimiter)
    parts.extend(text[start:].split(delimiter, most - len(parts) - 1 if most else -1))
    return array_of(call, parts)


def _overlaps_itself(text: str) -> bool:
    return any(text.endswith(text[:size]) for size in range(1, min(len(text), 1000))) or len(text) > 1000


@TOPIC.builtin(
    "str_split(string: string, delimiter: string, [limit: number = 0]) -> array",
    effect=Effect.PURE,
    examples=[
        'str_split("how are you", " ", 2)  // ["how", "are you"]',
        'str_split("how are you", " ", -2)  // ["how are", "you"]',
        'str_split("", ",")  // [""]',
    ],
    elements=["string"],
)
def str_split(call: Run, string: str, delimiter: str, limit: float = 0.0) -> Array:
    """Split on a delimiter, into at most `limit` parts from the left, or from the right when it is negative."""
    return _split(call, string, delimiter, limit, "str_split")


@TOPIC.builtin(
    "explode(delimiter: string, string: string, [limit: number = 0]) -> array",
    effect=Effect.PURE,
    examples=['explode("@", "user@example.com")  // ["user", "example.com"]'],
    deprecated="use str_split(), whose string comes first",
    elements=["string"],
)
def explode(call: Run, delimiter: str, string: str, limit: float = 0.0) -> Array:
    """Split on a delimiter, which comes first."""
    return _split(call, string, delimiter, limit, "explode")


def _find(call: Run, string: str, substring: str, offset: float, function: str) -> float:
    start = max(0, whole(offset, f"{function}() wants `offset`"))
    return float(find_from(call, string, substring, start)) if start <= len(string) else -1.0


def _find_last(call: Run, string: str, substring: str, offset: float, function: str) -> float:
    end = len(string) - max(0, whole(offset, f"{function}() wants `offset`"))
    while end > STRETCH and len(substring) < STRETCH // 2:
        at = string.rfind(substring, end - STRETCH, end)
        if at >= 0:
            return float(at)
        call.charge(STRETCH >> 10)
        end -= STRETCH - len(substring)
    return float(string.rfind(substring, 0, end)) if end >= 0 else -1.0


@TOPIC.builtin(
    "str_find(string: string, substring: string, [offset: number = 0]) -> number",
    effect=Effect.PURE,
    examples=['str_find("banana", "an")  // 1', 'str_find("banana", "an", 2)  // 3', 'str_find("banana", "x")  // -1'],
)
def str_find(call: Run, string: str, substring: str, offset: float = 0.0) -> float:
    """Give the position of the first occurrence at or after `offset`, or -1."""
    return _find(call, string, substring, offset, "str_find")


@TOPIC.builtin(
    "strpos(s: string, find: string, [offset: number = 0]) -> number",
    effect=Effect.PURE,
    examples=['strpos("banana", "na")  // 2'],
    deprecated="use str_find()",
)
def strpos(call: Run, s: str, find: str, offset: float = 0.0) -> float:
    """Give the position of the first occurrence at or after `offset`, or -1."""
    return _find(call, s, find, offset, "strpos")


@TOPIC.builtin(
    "str_rfind(string: string, substring: string, [offset: number = 0]) -> number",
    effect=Effect.PURE,
    examples=['str_rfind("banana", "an")  // 3', 'str_rfind("banana", "an", 2)  // 1'],
)
def str_rfind(call: Run, string: str, substring: str, offset: float = 0.0) -> float:
    """Give the position of the last occurrence, leaving out the last `offset` bytes, or -1."""
    return _find_last(call, string, substring, offset, "str_rfind")


@TOPIC.builtin(
    "strrpos(s: string, find: string, [offset: number = 0]) -> number",
    effect=Effect.PURE,
    examples=['strrpos("banana", "na")  // 4'],
    deprecated="use str_rfind()",
)
def strrpos(call: Run, s: str, find: str, offset: float = 0.0) -> float:
    """Give the position of the last occurrence, leaving out the last `offset` bytes, or -1."""
    return _find_last(call, s, find, offset, "strrpos")


@TOPIC.builtin(
    "strlen(s: string) -> number",
    effect=Effect.PURE,
    examples=['strlen("abc")  // 3'],
    deprecated="use length()",
    whole=True,
    inline={"": "float(len(s))"},
)
def strlen(s: str) -> float:
    """Give the number of bytes."""
    return float(len(s))


@TOPIC.builtin(
    "str_lower(string: string) -> string",
    effect=Effect.PURE,
    examples=['str_lower("ABC")  // "abc"'],
    inline={"": _LOWER.format("string")},
)
def str_lower(call: Run, string: str) -> str:
    """Give the string with ASCII letters in lower case."""
    return lower(string) if len(string) < 1024 else in_stretches(call, string, lower)


@TOPIC.builtin(
    "strtolower(s: string) -> string",
    effect=Effect.PURE,
    examples=['strtolower("ABC")  // "abc"'],
    deprecated="use str_lower()",
    inline={"": _LOWER.format("s")},
)
def strtolower(call: Run, s: str) -> str:
    """Give the string with ASCII letters in lower case."""
    return lower(s) if len(s) < 1024 else in_stretches(call, s, lower)


@TOPIC.builtin(
    "str_upper(string: string) -> string",
    effect=Effect.PURE,
    examples=['str_upper("abc")  // "ABC"'],
    inline={"": _UPPER.format("string")},
)
def str_upper(call: Run, string: str) -> str:
    """Give the string with ASCII letters in upper case."""
    return upper(string) if len(string) < 1024 else in_stretches(call, string, upper)


@TOPIC.builtin(
    "strtoupper(s: string) -> string",
    effect=Effect.PURE,
    examples=['strtoupper("abc")  // "ABC"'],
    deprecated="use str_upper()",
    inline={"": _UPPER.format("s")},
)
def strtoupper(call: Run, s: str) -> str:
    """Give the string with ASCII letters in upper case."""
    return upper(s) if len(s) < 1024 else in_stretches(call, s, upper)


def _slice(call: Run, text: str, offset: float, length: float | None, function: str) -> str:
    start = whole(offset, f"{function}() wants `offset`")
    start = max(0, len(text) + start) if start < 0 else start
    end = len(text)
    if length is not None:
        size = whole(length, f"{function}() wants `length`")
        end = len(text) + size if size < 0 else start + size
    if len(text) >= WORTH_RESERVING:
        call.reserve(max(0, min(end, len(text)) - start))
    return text[start : max(start, end)]


@TOPIC.builtin(
    "str_slice(string: string, offset: number, [length: number | string]) -> string",
    effect=Effect.PURE,
    examples=['str_slice("Halon", 1, 3)  // "alo"', 'str_slice("Halon", -2)  // "on"', 'str_slice("Halon", 9)  // ""'],
)
def str_slice(call: Run, string: str, offset: float, length: float | str | None = None) -> str:
    """Give the part from `offset`, of at most `length` bytes; a negative `offset` or `length` counts from the end.

    `length` may be a text of digits, as clients of text protocols hand on what they have read.
    """
    return _slice(call, string, offset, None if length is None else _digits(length, "str_slice", "length"), "str_slice")


def _digits(number: float | str, function: str, name: str) -> float:
    """Give a number that may be given as a text of digits."""
    if isinstance(number, str):
        if not (number.isascii() and number.isdigit()) or len(number) > 15:
            raise ScriptError("R101", f"{function}() wants number as `{name}`, got {describe(number)}")
        return float(number)
    return number


@TOPIC.builtin(
    "substr(s: string, [start: number = 0, [len: number]]) -> string",
    effect=Effect.PURE,
    examples=['substr("Halon", 1, 3)  // "alo"'],
    deprecated="use str_slice() or a slice",
)
def substr(call: Run, s: str, start: float = 0.0, len_: float | None = None) -> str:
    """Give the part from `start`, of at most `len` bytes; a negative `start` or `len` counts from the end."""
    return _slice(call, s, start, len_, "substr")


def _strip(call: Run, text: str, characters: str, left: bool, right: bool) -> str:
    if len(characters) > 256:
        different = []
        for code in range(256):
            call.charge(1 + (len(characters) >> 13))
            if chr(code) in characters:
                different.append(chr(code))
        characters = "".join(different)
    start, end = 0, len(text)
    while left and end - start > _SPLIT_STRETCH:
        kept = len(text[start : start + _SPLIT_STRETCH].lstrip(characters))
        start += _SPLIT_STRETCH - kept
        call.charge(64)
        if kept:
            left = False
    while right and end - start > _SPLIT_STRETCH:
        kept = len(text[end - _SPLIT_STRETCH : end].rstrip(characters))
        end -= _SPLIT_STRETCH - kept
        call.charge(64)
        if kept:
            right = False
    if end - start < len(text):
        call.reserve(end - start)
        text = text[start:end]
    if left:
        text = text.lstrip(characters)
    return text.rstrip(characters) if right else text


@TOPIC.builtin(
    "str_strip(string: string, [characters: string]) -> string",
    effect=Effect.PURE,
    examples=['str_strip("  abc\\r\\n")  // "abc"', 'str_strip("<abc>", "<>")  // "abc"'],
)
def str_strip(call: Run, string: str, characters: str = WHITE_SPACE) -> str:
    """Remove white space, or any of `characters`, from both ends."""
    return _strip(call, string, characters, True, True)


@TOPIC.builtin(
    "str_lstrip(string: string, [characters: string]) -> string",
    effect=Effect.PURE,
    examples=['str_lstrip("  a ")  // "a "'],
)
def str_lstrip(call: Run, string: str, characters: str = WHITE_SPACE) -> str:
    """Remove white space, or any of `characters`, from the start."""
    return _strip(call, string, characters, True, False)


@TOPIC.builtin(
    "str_rstrip(string: string, [characters: string]) -> string",
    effect=Effect.PURE,
    examples=['str_rstrip(" a  ")  // " a"'],
)
def str_rstrip(call: Run, string: str, characters: str = WHITE_SPACE) -> str:
    """Remove white space, or any of `characters`, from the end."""
    return _strip(call, string, characters, False, True)


@TOPIC.builtin(
    "trim(s: string) -> string", effect=Effect.PURE, examples=['trim(" a ")  // "a"'], deprecated="use str_strip()"
)
def trim(call: Run, s: str) -> str:
    """Remove white space from both ends."""
    return _strip(call, s, WHITE_SPACE, True, True)


@TOPIC.builtin(
    "str_chunk(string: string, length: number | string, [firstlength: number | string]) -> array",
    effect=Effect.PURE,
    examples=['str_chunk("abcde", 2)  // ["ab", "cd", "e"]', 'str_chunk("abcde", 2, 1)  // ["a", "bc", "de"]'],
)
def str_chunk(call: Run, string: str, length: float | str, firstlength: float | str | None = None) -> Array:
    """Cut into pieces of `length` bytes, the first one of `firstlength` if that is given.

    Both may be texts of digits.
    """
    size = first = whole(_digits(length, "str_chunk", "length"), "str_chunk() wants `length`")
    if firstlength is not None:
        first = whole(_digits(firstlength, "str_chunk", "firstlength"), "str_chunk() wants `firstlength`")
    if size < 1 or first < 1:
        raise ScriptError("R108", "str_chunk() wants lengths of at least 1")
    call.reserve(len(string) + len(string) // size * _PART_BYTES)
    parts: list[Value] = [string[:first]] if string else []
    for start in range(first, len(string), size):
        parts.append(string[start : start + size])
        if len(parts) & 1023 == 0:
            call.charge(128)
    return array_of(call, parts)
