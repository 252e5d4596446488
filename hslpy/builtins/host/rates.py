"""rate(): sliding counters shared by all sessions (and nodes). In: who, how many, how long. Out: whether it may, or a count.

The counting is `rate/`'s. Source: the HSL manual, rate().
"""

from __future__ import annotations

import math

from hslpy.builtins.host.options import BOOLEAN, read_options
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array
from hslpy.rate.contract import MAX_INTERVAL_S

TOPIC = Topic("rates")


@TOPIC.builtin(
    "rate(namespace: string, entry: string, count: number, interval: number, [options: array]) -> boolean | number | none",
    effect=Effect.IO,
    examples=['rate("outbound", "a@example.org", 100, 3600)  // true'],
)
def rate(
    call: Run, namespace: str, entry: str, count: float, interval: float, options: Array | None = None
) -> bool | float | None:
    """Count one hit and say whether `entry` is still within `count` hits per `interval` seconds.

    A refused hit is not counted. A count of 0 counts nothing and gives the number of hits within the interval. With
    "sync" => false (or "local" => true) the hits of this process alone count.
    """
    shared = True
    if options is not None:
        given = read_options("rate", options, {"sync": BOOLEAN, "local": BOOLEAN})
        shared = given.get("sync", not given.get("local", False))
    if not 0 < interval <= MAX_INTERVAL_S:
        wanted = f"above 0 and at most {MAX_INTERVAL_S:g} seconds" if interval > 0 else "above 0 seconds"
        raise ScriptError("R108", f"rate() wants `interval` {wanted}, got {format_number(interval)}")
    if not 0 <= count < 2**53:
        raise ScriptError("R108", f"rate() wants `count` of at least 0, got {format_number(count)}")
    result = call.wait(call.host.services.rates.check(namespace, entry, math.floor(count), interval, shared=shared))
    if result is False:
        call.host.services.limited(namespace)
    return result if result is None or result.__class__ is bool else float(result)
