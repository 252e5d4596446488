"""The pcre_* functions. In: patterns, subjects, callbacks. Out: arrays of matches, text. Matching is `lang.regex`'s."""

from __future__ import annotations

import re
from collections.abc import Callable

from hslpy.builtins.core.arguments import callback_error, in_stretches, to_utf8, whole
from hslpy.builtins.core.types import is_function
from hslpy.lang import regex
from hslpy.lang.conversions import key_of_text, to_string
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth, TextBuilder, array_of
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Key, Regex, Value

TOPIC = Topic("regular expressions")

_TEMPLATE = re.compile(r"\$([0-9]{1,2})")
_QUOTED = re.compile(r"[.\\+*?\[^\]$(){}=!<>|:\-#/]")
_QUOTED_AT_ONCE = 2048  # characters, about a millisecond where each is quoted
_ELEMENT_BYTES = 150


def _as_array(compiled: regex.Compiled, texts: list[str]) -> Array:
    items: dict[Key, Value] = dict(enumerate(texts))
    for name, group in compiled.names:
        items[key_of_text(to_utf8(name))] = texts[group]
    return Array(items, len(texts))


@TOPIC.builtin(
    "pcre_match(pattern: Regex | string, subject: string) -> array",
    effect=Effect.PURE,
    examples=[
        'pcre_match("(a+)(b)", "xaab")  // ["aab", "aa", "b"]',
        'pcre_match("/(?<n>B)/i", "ab")  // [0 => "b", 1 => "b", "n" => "b"]',
        'pcre_match("z", "ab")  // []',
    ],
)
def pcre_match(call: Run, pattern: str | Regex, subject: str) -> Array:
    """Give the first match: [0] the whole, then each group, then the named ones by name; [] where nothing matches."""
    compiled = regex.compiled(call, pattern)
    texts = regex.first(call, compiled, subject)
    return Array({}, 0) if texts is None else _as_array(compiled, texts)


@TOPIC.builtin(
    "pcre_match_all(pattern: Regex | string, subject: string) -> array",
    effect=Effect.PURE,
    examples=['pcre_match_all("a(.)", "abac")  // [["ab", "ac"], ["b", "c"]]', 'pcre_match_all("z", "ab")  // []'],
)
def pcre_match_all(call: Run, pattern: str | Regex, subject: str) -> Array:
    """Give all matches as a list for each group: [0] of wholes, [1] of first groups, ...; [] where nothing matches."""
    compiled = regex.compiled(call, pattern)
    text = regex.subject_text(call, compiled, subject)
    found = [] if text is None else regex.find_all(call, compiled, text)
    if not found:
        return Array({}, 0)
    columns: list[list[Value]] = [[] for _ in range(compiled.groups + 1)]
    growth = Growth(call)
    for number, match in enumerate(found, 1):
        for column, part in zip(columns, compiled.texts(match), strict=True):
            column.append(part)
            growth.add(_ELEMENT_BYTES + len(part))
        if number & 255 == 0:
            call.charge(256)
    result = Array.of([array_of(call, column) for column in columns])
    for name, group in compiled.names:
        result.set(key_of_text(to_utf8(name)), result.items[group].share())
    return result


def _quoted(text: str) -> str:
    return _QUOTED.sub(r"\\\g<0>", text).replace("\0", "\\x00")


@TOPIC.builtin(
    "pcre_quote(string: string) -> string", effect=Effect.PURE, examples=['pcre_quote("a.b*")  // "a\\\\.b\\\\*"']
)
def pcre_quote(call: Run, string: str) -> str:
    """Put a backslash before each character that means something in a pattern."""
    return in_stretches(call, string, _quoted, _QUOTED_AT_ONCE)


@TOPIC.builtin(
    "pcre_compile(string: string) -> Regex",
    effect=Effect.PURE,
    examples=['pcre_match(pcre_compile("/B/i"), "abc")  // ["b"]'],
)
def pcre_compile(call: Run, string: str) -> Regex:
    """Give the pattern as a Regex value; `/pattern/modifiers` is unwrapped. A bad pattern is an error."""
    regex.compiled(call, string)
    return Regex(*regex.unwrap(string))


@TOPIC.builtin(
    "pcre_replace(pattern: Regex | string, replace: function | string, subject: string, [limit: number = 0]) -> string",
    effect=Effect.PURE,
    examples=[
        'pcre_replace("(a)(b)", "$2$1", "abab")  // "baba"',
        'pcre_replace("a", "x", "aaa", 2)  // "xxa"',
        'pcre_replace("b+", function ($m) { return str_upper($m[0]); }, "abbc")  // "aBBc"',
    ],
)
def pcre_replace(call: Run, pattern: str | Regex, replace: Value, subject: str, limit: float = 0.0) -> str:
    """Replace matches, at most `limit` unless that is 0, by a template with $0 to $n or by `callback(matches)`."""
    compiled = regex.compiled(call, pattern)
    most = max(0, whole(limit, "pcre_replace() wants `limit`"))
    text = regex.subject_text(call, compiled, subject)
    found = [] if text is None else regex.find_all(call, compiled, text, most)
    if not found or text is None:
        return subject
    if is_function(replace):
        substitute = _by_callback(call, compiled, replace)
    else:
        substitute = _by_template(compiled, replace)
    result = TextBuilder(call)
    position = 0
    for match in found:
        start, end = match.span()
        result.add(regex.decoded(compiled, text[position:start]))
        result.add(substitute(match))
        position = end
    result.add(regex.decoded(compiled, text[position:]))
    return result.text()


def _by_callback(call: Run, compiled: regex.Compiled, callback: Value) -> Callable[[regex.Match], str]:
    def substitute(match: regex.Match) -> str:
        result = call.invoke(callback, _as_array(compiled, compiled.texts(match)))
        if result is None:
            raise callback_error("pcre_replace", "a string", result)
        return to_string(call, result)

    return substitute


def _by_template(compiled: regex.Compiled, template: str) -> Callable[[regex.Match], str]:
    pieces: list[str | int] = []
    position = 0
    for found in _TEMPLATE.finditer(template):
        digits = found[1] if int(found[1]) <= compiled.groups else found[1][0]
        if int(digits) > compiled.groups:
            continue
        pieces.append(template[position : found.start()])
        pieces.append(int(digits))
        position = found.start() + 1 + len(digits)
    pieces.append(template[position:])
    if len(pieces) == 1:
        return lambda match: template

    def substitute(match: regex.Match) -> str:
        texts = compiled.texts(match)
        return "".join([texts[piece] if isinstance(piece, int) else piece for piece in pieces])

    return substitute
