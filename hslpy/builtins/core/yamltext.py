"""YAML to values. In: strings of UTF-8. Out: values, or none for what is no YAML.

libyaml's parser gives one event at a time; the values are built here, by the core schema of YAML 1.2 (section 10.3).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, from_utf8, read_options, to_utf8
from hslpy.lang.conversions import key_of_text
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Key, Value, own
from hslpy.late import yaml

TOPIC = Topic("YAML")

_ELEMENT_BYTES = 200
_EVENTS_A_STRETCH = 64
_AT_ONCE = 1 << 20  # bytes; libyaml takes the text as one
_MOST_LEVELS = 1_000  # libyaml looks at every open bracket with each token: deep texts take it squared time
_WORDS: dict[str, Value] = {"": None, "~": None, "true": True, "false": False}
_WORDS |= {"null": None, "Null": None, "NULL": None, "True": True, "TRUE": True, "False": False, "FALSE": False}
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"0x[0-9a-fA-F]{1,64}|0o[0-7]{1,64}")
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Malformed(Exception):
    """The text is no YAML, or more of it than a value can say."""


def _scalar(event: yaml.ScalarEvent) -> Value:
    text: str = event.value
    if (not event.implicit[0] and event.tag in _STRING_TAGS) or not (event.implicit[0] or event.tag):
        return to_utf8(text)
    if event.style:  # in quotes or a block
        return to_utf8(text)
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 400 and _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    if _INTEGER.fullmatch(text):
        return float(int(text, 0))
    return to_utf8(text)


class _Building:
    """An array under way: a list, or a map with the key that waits for its value."""

    __slots__ = ("anchor", "array", "is_map", "key")

    def __init__(self, is_map: bool, anchor: str | None) -> None:
        self.array = Array({}, 0)
        self.is_map = is_map
        self.key: Key | None = None
        self.anchor = anchor

    def take(self, value: Value, text: str | None) -> None:
        """Put a value in its place; `text` is what it was written as, None for what is no scalar."""
        if not self.is_map:
            self.array.append(value)
        elif self.key is None:
            if text is None:
                raise _Malformed
            self.key = key_of_text(to_utf8(text))
        else:
            self.array.set(self.key, value)
            self.key = None


def _value(call: Run, events: Iterator[Any]) -> Value:
    anchors: dict[str, tuple[Value, str | None]] = {}
    levels: list[_Building] = []
    growth = Growth(call)
    result: Value = None
    documents = 0
    for number, event in enumerate(events):
        if number % _EVENTS_A_STRETCH == 0:
            call.charge(3 * _EVENTS_A_STRETCH)
            growth.add(_EVENTS_A_STRETCH * _ELEMENT_BYTES)
        text: str | None = None
        match event:
            case yaml.ScalarEvent():
                value, text = _scalar(event), event.value
                if event.anchor:
                    anchors[event.anchor] = (value, text)
            case yaml.AliasEvent():
                if event.anchor not in anchors:  # unknown, or of an array that isn't complete: a circle
                    raise _Malformed
                held, text = anchors[event.anchor]
                value = own(held)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(levels) >= _MOST_LEVELS:
                    raise _Malformed
                levels.append(_Building(isinstance(event, yaml.MappingStartEvent), event.anchor))
                continue
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = levels.pop()
                value = done.array
                if done.anchor:
                    anchors[done.anchor] = (value.share(), None)
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise _Malformed
                continue
            case _:
                continue
        if levels:
            levels[-1].take(value, text)
        else:
            result = value
    return result


@TOPIC.builtin(
    "yaml_decode(string: string, [options: array]) -> any",
    effect=Effect.PURE,
    examples=[
        'yaml_decode("a: 1\\nb: [x, true, ~]")  // ["a" => 1, "b" => ["x", true, none]]',
        'yaml_decode("- yes\\n- 0x1f\\n- \'5\'")  // ["yes", 31, "5"]',
        'yaml_decode("a: [")  // none',
    ],
)
def yaml_decode(call: Run, string: str, options: Array | None = None) -> Value:
    """Give the value of a YAML text, or none when it isn't one, is more than one document, or over 1,000 levels deep.

    By the core schema of YAML 1.2: `true` and `false` are booleans, `null`, `~` and nothing are none, what looks like a
    number is one; all else is a string, dates, `yes` and `no` among it. Anchors and aliases work, merge keys (`<<`)
    don't. Keys must be scalars; of equal ones the last counts.
    """
    read_options("yaml_decode", options, {})
    if (len(string) <= _AT_ONCE and from_utf8(string) is None) or "\0" in string:
        return None
    call.reserve(4 * len(string))
    call.charge(len(string) >> 8)
    try:
        return _value(call, yaml.parse(as_bytes(string), Loader=_loader()))
    except (yaml.YAMLError, _Malformed, UnicodeError):
        return None


def yaml_fault(call: Run, string: str) -> tuple[str, int] | None:
    """Say what keeps a text from being YAML, and at which byte; None where nothing does."""
    try:
        _value(call, yaml.parse(as_bytes(string), Loader=_loader()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = string.split("\n")[: mark.line + 1] if mark is not None else []
        offset = sum(len(line) + 1 for line in lines[:-1]) + (mark.column if mark is not None else 0)
        return error.problem or "no YAML", offset
    except (yaml.YAMLError, UnicodeError) as error:
        return "no YAML", getattr(error, "position", None) or 0
    except _Malformed:
        return "YAML that is no value: two documents, an unknown alias, too many levels, or a key that is an array", 0
    return None
