"""CSV and URLs: texts with a few parts, and back. In: strings, arrays. Out: arrays, strings, none for what is malformed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from hslpy.builtins.core.arguments import read_options
from hslpy.errors import ScriptError
from hslpy.lang.conversions import key_of_text, to_number, to_string, truth
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.growth import Growth, TextBuilder, array_of
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Key, Value, identical

TOPIC = Topic("tables")

_ROW_BYTES = 300
_LONGEST_LINE = 131_072  # the csv module's limit for a field; some 4 ms where it is all delimiters
_MOST_FIELDS = 131_072  # of a row: as many as a line can hold
_FIELDS_AT_ONCE = 1024  # of a wide row, some 0.5 ms with a schema
_LINE_END = re.compile(r"\r\n|\n|\r")
_TYPES = ("string", "boolean", "number")


def delimiter_of(function: str, text: str) -> str:
    """Give what parts fields, checked."""
    if len(text) != 1 or text in '"\r\n':
        raise ScriptError("R302", f"{function}() wants option `delimiter` as one byte that is no quote or line end")
    return text


def _lines(call: Run, text: str) -> Iterator[str]:
    """Give the lines with their ends, CR LF, LF or CR. Raises csv.Error for one that would take long to be read."""
    start = 0
    while start < len(text):
        found = _LINE_END.search(text, start, start + _LONGEST_LINE)
        if found is None and len(text) - start > _LONGEST_LINE:
            raise csv.Error("the line is too long")
        end = found.end() if found is not None else len(text)
        call.charge(1 + (end - start >> 6))
        yield text[start:end]
        start = end


def _paced(call: Run, row: list[str]) -> Iterable[str]:
    """Give the fields, with turns for others between the many of a wide row."""
    return row if len(row) <= _FIELDS_AT_ONCE else _with_turns(call, row)


def _with_turns(call: Run, row: list[str]) -> Iterator[str]:
    for start in range(0, len(row), _FIELDS_AT_ONCE):
        call.pause()
        yield from row[start : start + _FIELDS_AT_ONCE]


def csv_rows(call: Run, text: str, delimiter: str) -> Iterator[list[str]]:
    """Give the rows of a CSV text that are not empty, charging for each. Raises csv.Error."""
    growth = Growth(call)
    for row in csv.reader(_lines(call, text), delimiter=delimiter, strict=True):
        if len(row) > _MOST_FIELDS:
            raise csv.Error("the row has too many fields")
        size = sum(map(len, _paced(call, row))) + 60 * len(row)
        growth.add(_ROW_BYTES + size)
        call.charge(2 + (size >> 6))
        if row:
            yield row


@TOPIC.builtin(
    "csv_encode(values: array, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['csv_encode(["Hello", "World", "Hello World"])  // "Hello,World,\\"Hello World\\""'],
)
def csv_encode(call: Run, values: Array, options: Array | None = None) -> str:
    """Give values as one line of CSV, without a line end: in quotes where white space, quotes or the delimiter ask for it.

    Option: `delimiter` (",").
    """
    delimiter = delimiter_of("csv_encode", str(read_options("csv_encode", options, {"delimiter": ","})["delimiter"]))
    result = TextBuilder(call)
    between = ""
    for value in values.items.values():
        text = to_string(call, value)
        if len(text) > _LONGEST_LINE:
            call.charge(len(text) >> 8)
            call.reserve(2 * len(text))
        if any(mark in text for mark in (delimiter, '"', " ", "\t", "\r", "\n")):
            text = '"' + text.replace('"', '""') + '"'
        result.add(between + text)
        between = delimiter
    return result.text()


@TOPIC.builtin(
    "csv_decode(string: string, [options: array]) -> array | none",
    effect=Effect.PURE,
    examples=[
        'csv_decode("a,b\\n1,2")  // [["a" => "1", "b" => "2"]]',
        'csv_decode("1;2", ["header" => false, "delimiter" => ";"])  // [["1", "2"]]',
        'csv_decode("n\\n5", ["schema" => ["n" => ["type" => "number"]]])  // [["n" => 5]]',
    ],
)
def csv_decode(call: Run, string: str, options: Array | None = None) -> Array | None:
    """Give the rows of a CSV text: arrays keyed by the first row's names, or lists without `header`; none on bad CSV.

    Options: `delimiter` (","), `header` (true), `schema`: by column name `type` (string, boolean, number), `nullable`
    (true, or a list of texts that mean none), `true` and `false` (lists of texts).
    """
    chosen = read_options("csv_decode", options, {"delimiter": ",", "header": True, "schema": Array({}, 0)})
    schema = {key: _column(key, rule) for key, rule in chosen["schema"].items.items()}
    result: list[Value] = []
    names: list[Key] | None = None
    try:
        for row in csv_rows(call, string, delimiter_of("csv_decode", str(chosen["delimiter"]))):
            if not chosen["header"]:
                result.append(array_of(call, row))
            elif names is None:
                names = [key_of_text(name) for name in _paced(call, row)]
            else:
                entry = Array({}, 0)
                for name, text in zip(names, _paced(call, row), strict=False):
                    entry.set(name, _typed(text, schema.get(name)))
                result.append(entry)
    except csv.Error:
        return None
    return array_of(call, result)


def csv_fault(call: Run, string: str, options: Array) -> tuple[str, int]:
    """Say what keeps a text from being CSV, and the offset of the line at which it does."""
    chosen = read_options("csv_decode", options, {"delimiter": ",", "header": True, "schema": Array({}, 0)})
    at = 0

    def counted() -> Iterator[str]:
        nonlocal at
        for line in _lines(call, string):
            yield line
            at += len(line)

    try:
        for _ in csv.reader(counted(), delimiter=delimiter_of("csv_decode", str(chosen["delimiter"])), strict=True):
            pass
    except csv.Error as error:
        return str(error), at
    return "no CSV", 0


def _column(name: object, rule: Value) -> dict[str, Any]:
    if rule.__class__ is not Array:
        raise ScriptError("R302", f"csv_decode() wants the schema of `{name}` as an array")
    chosen = read_options("csv_decode", rule, {"type": "string", "nullable": None, "true": None, "false": None})
    if chosen["type"] not in _TYPES:
        hint = suggest(str(chosen["type"]), _TYPES) or "types are string, boolean and number"
        raise ScriptError("R302", f"csv_decode() knows no type `{chosen['type']}`", hint=hint)
    return chosen


def _listed(text: str, texts: Value, otherwise: str) -> bool:
    if texts.__class__ is Array:
        return any(identical(None, text, wanted) for wanted in texts.items.values())
    return text == otherwise


def _typed(text: str, rule: dict[str, Any] | None) -> Value:
    if rule is None:
        return text
    nullable = rule["nullable"]
    if (nullable.__class__ is Array and _listed(text, nullable, "")) or (nullable is True and text == ""):
        return None
    if rule["type"] == "number":
        return to_number(text)
    if rule["type"] == "boolean":
        if _listed(text, rule["true"], "true"):
            return True
        return None if not _listed(text, rule["false"], "false") and truth(nullable) else False
    return text


@TOPIC.builtin(
    "csv_explode(string: string) -> array",
    effect=Effect.PURE,
    examples=['csv_explode("a,\\"b,c\\"")  // ["a", "b,c"]'],
    deprecated="use csv_decode()",
)
def csv_explode(call: Run, string: str) -> Array:
    """Give the values of one line of CSV; of what is no CSV, the whole as one value."""
    try:
        return Array.of(next(csv_rows(call, string, ","), [string]))
    except csv.Error:
        return Array.of([string])


@TOPIC.builtin(
    "url_parse(url: string, [options: array]) -> array | none",
    effect=Effect.PURE,
    examples=['url_parse("http://example.com:8080/a?b#c")["port"]  // 8080', 'url_parse("http://[")  // none'],
)
def url_parse(call: Run, url: str, options: Array | None = None) -> Array | None:
    """Give a URL's parts: schema, username, password, hostname, port, path, query, fragment, those that are there.

    No option is known.
    """
    read_options("url_parse", options, {})
    call.charge(len(url) >> 6)
    if len(url) > 65_536:
        return None
    try:
        parts = urlsplit(url)
        found: dict[str, Value] = {
            "schema": parts.scheme or None,
            "username": parts.username,
            "password": parts.password,
            "hostname": parts.hostname,
            "port": None if parts.port is None else float(parts.port),
            "path": parts.path or None,
            "query": parts.query or None,
            "fragment": parts.fragment or None,
        }
    except ValueError:
        return None
    return Array.mapping({name: value for name, value in found.items() if value is not None})
