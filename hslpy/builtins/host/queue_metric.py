"""GetMailQueueMetric: how much is queued. In: metric and filters. Out: a count or bytes, from the queue's live counters.

Source: the HSL manual, GetMailQueueMetric, 2018.
"""

from __future__ import annotations

import asyncio

from hslpy.builtins.core.arguments import unknown_word
from hslpy.builtins.host.options import ARRAY, TEXT, read_options
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value, type_name
from hslpy.queue.entries import FIELDS, METADATA

TOPIC = Topic("queue metric")

METRICS = ("count", "bytes")
FILTERS = (*FIELDS, f"{METADATA}NAME")


@TOPIC.builtin(
    "GetMailQueueMetric([options: array]) -> number",
    effect=Effect.READS,
    hooks=("connect", "proxy", "helo", "auth", "mailfrom", "rcptto", "data", "eod", "predelivery", "postdelivery"),
    examples=['GetMailQueueMetric(["filter" => ["senderdomain" => $senderdomain]]) > 500'],
)
def get_mail_queue_metric(call: Run, options: Array | None = None) -> float:
    """Give how many messages (or their bytes, with "metric" => "bytes") match all filters; a list matches any of it.

    `filter` has values by name: senderip, saslusername, sender, senderdomain, recipient, recipientdomain, transportid,
    retry, jobid, serverid, tenantid, or `metadata.` and a name. Without one, all of the queue is counted.
    """
    given = read_options("GetMailQueueMetric", options, {"metric": TEXT, "filter": ARRAY})
    metric = given.get("metric", "count")
    if metric not in METRICS:
        raise unknown_word("GetMailQueueMetric", "metric", metric, METRICS)
    filters: dict[str, tuple[str, ...]] = {}
    if "filter" in given:
        for key, value in given["filter"].items.items():
            name = str(key)
            if name not in FILTERS and not (name.startswith(METADATA) and len(name) > len(METADATA)):
                hint = suggest(name, FILTERS) or "filters: " + ", ".join(FILTERS)
                raise ScriptError("R301", f"unknown filter `{name}` of GetMailQueueMetric()", hint=hint)
            wanted = tuple(value.values()) if value.__class__ is Array else (value,)
            filters[name] = tuple(_text(name, one) for one in wanted)
    services = call.host.services
    counting = services.queue_metric_ready(filters)
    if counting is not None:  # the first to ask for these fields, with a long queue
        call.wait(asyncio.shield(counting))
    return float(services.queue_metric(metric, filters))


def _text(name: str, value: Value) -> str:
    if value.__class__ is float:
        return format_number(value)
    if value.__class__ is not str:
        raise ScriptError(
            "R302", f"filter `{name}` of GetMailQueueMetric() wants a string or a list, got {type_name(value)}"
        )
    return str(value)
