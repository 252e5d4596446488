"""Time: now, calendar text and back, durations, waiting. In: the run's clock, numbers, text. Out: seconds, text.

The time zone is the process's own; instants come from the run's clock alone.
"""

from __future__ import annotations

import calendar
import math
import re
import time as calendars
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hslpy.builtins.core.arguments import from_utf8, read_options, to_utf8
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array

TOPIC = Topic("time")

MOST_CHARACTERS = 1000  # of a format or a date: the C function is called again and again for a long result
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([dhms]?)", re.ASCII)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
# What C's strptime takes and Python's does not, in Python's terms. Source: strptime(3)
_SHORTHANDS = {
    "%T": "%H:%M:%S",
    "%D": "%m/%d/%y",
    "%F": "%Y-%m-%d",
    "%R": "%H:%M",
    "%e": "%d",
    "%h": "%b",
    "%n": " ",
    "%t": " ",
}
_DIRECTIVE = re.compile("%(.)", re.DOTALL)
_DATES = {"year": "YyGCcx", "month": "mbBcxjU", "day": "dcxjUaAuw"}


@TOPIC.builtin("time() -> number", effect=Effect.READS, examples=["time() > 0  // true"])
def time(call: Run) -> float:
    """Give the seconds since 1970-01-01T00:00:00Z, with a fraction."""
    return call.clock.time()


@TOPIC.builtin("timelocal() -> number", effect=Effect.READS, examples=["timelocal() > 0  // true"])
def timelocal(call: Run) -> float:
    """Give time() plus the local zone's offset from UTC."""
    now = call.clock.time()
    return now + calendars.localtime(now).tm_gmtoff


@TOPIC.builtin("uptime() -> number", effect=Effect.READS, examples=["uptime() <= uptime()  // true"])
def uptime(call: Run) -> float:
    """Give the seconds on a clock that only moves forward."""
    return call.clock.monotonic()


@TOPIC.builtin("executiontime() -> number", effect=Effect.READS, examples=["executiontime() >= 0  // true"])
def executiontime(call: Run) -> float:
    """Give the seconds since this script started, waiting included."""
    return max(0.0, call.clock.monotonic() - call.started_at)


@TOPIC.builtin("sleep(seconds: number) -> number", effect=Effect.IO, examples=["sleep(0) >= 0  // true"])
def sleep(call: Run, seconds: float) -> float:
    """Wait, without keeping others waiting, and give the seconds waited. The limit on a script's time ends it earlier."""
    if not seconds >= 0:
        raise ScriptError("R108", f"sleep() wants `seconds` of at least 0, got {format_number(seconds)}")
    before = call.clock.monotonic()
    call.wait(call.clock.sleep(min(seconds, call.limits.wall_s + 1)))
    return call.clock.monotonic() - before


def _fields(when: float, local: bool, function: str) -> calendars.struct_time:
    try:
        return calendars.localtime(when) if local else calendars.gmtime(when)
    except (OverflowError, ValueError, OSError):
        raise ScriptError("R108", f"{function}() cannot show the time {format_number(when)}") from None


@TOPIC.builtin(
    "strftime(format: string, [time: number, [options: array]]) -> string",
    effect=Effect.READS,
    examples=['strftime("%Y-%m-%d %H:%M:%S", 86400, ["local" => false])  // "1970-01-02 00:00:00"'],
)
def strftime(call: Run, format: str, time: float | None = None, options: Array | None = None) -> str:
    """Give a time, by default now, as text by the directives of strftime(3).

    Option `local` (true): in the local time zone, else in UTC.
    """
    local = read_options("strftime", options, {"local": True})["local"]
    text = from_utf8(format)
    if text is None or "\0" in text or len(text) > MOST_CHARACTERS:
        raise ScriptError("R108", f"strftime() wants `format` as UTF-8 text of at most {MOST_CHARACTERS} characters")
    fields = _fields(call.clock.time() if time is None else time, local, "strftime")
    try:
        return to_utf8(calendars.strftime(text, fields))
    except (ValueError, OverflowError, MemoryError):
        raise ScriptError("R108", "strftime() cannot show that time in that format") from None


@TOPIC.builtin(
    "time_rfc2822([unixtime: number, [location: string]]) -> string",
    effect=Effect.READS,
    examples=[
        'time_rfc2822(1645012689.519825, "Europe/Stockholm")  // "Wed, 16 Feb 2022 12:58:09 +0100"',
        'time_rfc2822(0, "UTC")  // "Thu, 01 Jan 1970 00:00:00 +0000"',
    ],
)
def time_rfc2822(call: Run, unixtime: float | None = None, location: str | None = None) -> str:
    """Give a time, by default now, as header fields have it, in a time zone by its name, by default the local one."""
    when = call.clock.time() if unixtime is None else unixtime
    try:
        zone = None if location is None else ZoneInfo(location)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScriptError("R108", f'time_rfc2822() knows no time zone "{str(location)[:40]}"') from None
    try:
        moment = datetime.fromtimestamp(math.floor(when), UTC).astimezone(zone)
        offset = moment.strftime("%z")[:5]
    except (OverflowError, ValueError, OSError):
        raise ScriptError("R108", f"time_rfc2822() cannot show the time {format_number(when)}") from None
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} {moment:%H:%M:%S} {offset}"
    )


@TOPIC.builtin(
    "strptime(datestring: string, format: string, [options: array]) -> number | none",
    effect=Effect.READS,
    examples=[
        'strptime("1970-01-02 00:00:01", "%Y-%m-%d %H:%M:%S", ["local" => false])  // 86401',
        'strptime("nonsense", "%Y")  // none',
    ],
)
def strptime(call: Run, datestring: str, format: str, options: Array | None = None) -> float | None:
    """Give the time that a text means by the directives of strptime(3), or none. Parts of the date not given are today's.

    Option `local` (true): in the local time zone, else in UTC; an offset in the text (%z) comes first.
    """
    local = read_options("strptime", options, {"local": True})["local"]
    if len(datestring) > MOST_CHARACTERS or len(format) > MOST_CHARACTERS:
        return None
    if format == "%s":
        return float(datestring) if re.fullmatch("[0-9]{1,15}", datestring) else None
    pattern = _DIRECTIVE.sub(lambda found: _SHORTHANDS.get(found[0], found[0]), format)
    try:
        parsed = calendars.strptime(datestring, pattern)
    except (ValueError, re.error, OverflowError, KeyError, IndexError):
        return None
    given = set(_DIRECTIVE.findall(pattern))
    today = _fields(call.clock.time(), local, "strptime")
    year, month, day = parsed[:3]
    if not given & set(_DATES["year"]):
        year = today.tm_year
    if not given & set(_DATES["month"]):
        month = today.tm_mon if not given & set("YyG") else 1
    if not given & set(_DATES["day"]):
        day = today.tm_mday if not given & set("YyGmbB") else 1
    clock = (parsed.tm_hour, parsed.tm_min, parsed.tm_sec)
    try:
        if parsed.tm_gmtoff is not None:
            return float(calendar.timegm((year, month, day, *clock, 0, 0, 0)) - parsed.tm_gmtoff)
        if local:
            return float(calendars.mktime((year, month, day, *clock, 0, 0, -1)))
        return float(calendar.timegm((year, month, day, *clock, 0, 0, 0)))
    except (OverflowError, ValueError):
        return None


@TOPIC.builtin(
    "strpduration(during: string) -> number | none",
    effect=Effect.PURE,
    examples=['strpduration("1d2h30m")  // 95400', 'strpduration("90")  // 90', 'strpduration("soon")  // none'],
)
def strpduration(during: str) -> float | None:
    """Give the seconds of a duration such as `1d2h30m15s`; units are d, h, m and s. none when it is no duration."""
    if len(during) > MOST_CHARACTERS:
        return None
    total = 0.0
    position = 0
    text = during.replace(" ", "")
    while position < len(text):
        found = _DURATION.match(text, position)
        if found is None:
            return None
        total += float(found[1]) * _UNITS[found[2]]
        position = found.end()
    return total if position else None
