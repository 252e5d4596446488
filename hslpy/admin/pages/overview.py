"""The first page: mail in and out, the queue, how the addresses are, what needs doing. In: visits. Out: a page.

What is shown comes from the database, for all nodes, and from this node's mail server; each part says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi.responses import Response

from hslpy.admin.pages import mail
from hslpy.admin.pages.charts import Chart, Series
from hslpy.admin.pages.render import ago, moment
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.things import lock_told
from hslpy.admin.pages.visit import Tone, Visit
from hslpy.egress import health
from hslpy.egress.accounts import directory, site
from hslpy.egress.accounts.admins import count, some
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.delivery_ips import setting_list
from hslpy.egress.delivery_ips.queries import Query
from hslpy.egress.health import Health, State
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import activity
from hslpy.egress.store.activity import Hour
from hslpy.records import record

IPS = "/outgoing/delivery-ips"
SPANS: Mapping[str, tuple[str, int, int]] = {"24h": ("24 hours", 24, 1), "7d": ("7 days", 168, 6)}
"""What the charts show: its words, how many hours, how many hours a bar has."""
MOST_DESTINATIONS = 8
TONES: Mapping[State, Tone | str] = {
    "suspended": "critical",
    "gone": "critical",
    "listed": "critical",
    "critical": "critical",
    "paused": "warning",
    "warming": "busy",
    "unready": "warning",
    "unknown": "unknown",
    "clean": "ok",
}


@record
class Task:
    """One thing to do, with where to do it; "" where that is not on a page.

    `opens`: it is a dialog, for super-admins; others go to the `other` place.
    """

    tone: str
    text: str
    why: str
    action: str = ""
    href: str = ""
    opens: bool = False
    other: tuple[str, str] | None = None


@page("/", roles=EVERYBODY, title="Overview", order=1)
def overview(visit: Visit) -> Response:
    span = visit.asked("span", "24h")
    if span not in SPANS:
        raise Refused(f"the overview shows {' or '.join(SPANS)}", 404)
    sees_all = visit.principal.admins is None
    queue, fault = _queue(visit)
    held = _held(visit)
    context: dict[str, Any] = {
        "span": span,
        "spans": {key: words for key, (words, _, _) in SPANS.items()},
        "sees_all": sees_all,
        "queue": queue,
        "queue_fault": fault,
        "elsewhere": mail.elsewhere(visit),
        "most": MOST_DESTINATIONS,
        "tasks": [],
    }
    with visit.database.read() as session:
        context["zone"] = zone = site.read(session).time_zone
    if sees_all:
        context |= _of_all(visit, span, zone)
        context["tasks"] = tasks(visit, context["healths"], held, zone)
    else:
        context["tasks"] = locked_tasks(visit, held)
    return visit.render("overview.html", title="Overview", **context)


def _of_all(visit: Visit, span: str, zone: str) -> Mapping[str, Any]:
    words, hours, step = SPANS[span]
    until = activity.hour_of(visit.now) + 1
    if step > 1:
        until += -until % step
    with visit.database.read() as session:
        series = activity.series(session, until - hours, until)
        limits = activity.limits_hit(session, until - hours)
        began = activity.began(session)
    healths = health.of_addresses(visit.database, visit.now)
    return {
        "totals": totals(series),
        "charts": charts(series, step, zone, words),
        "limits": list(limits.items())[:MOST_DESTINATIONS],
        "limits_total": sum(limits.values()),
        "since": max((until - hours) * activity.HOUR_S, began or 0) if began is not None else None,
        "healths": healths,
        "states": [
            (health.STATES[state], TONES[state], number, health_link(state))
            for state, number in health.counts(healths).items()
        ],
        "nodes": _nodes(visit),
        "first_steps": first_steps(visit),
    }


def totals(series: Sequence[Hour]) -> Mapping[str, int]:
    kinds = ("accepted", "rejected", "limited", "delivered", "deferred", "bounced")
    return {kind: sum(getattr(one, kind) for one in series) for kind in kinds}


def charts(series: Sequence[Hour], step: int, zone: str, words: str) -> Sequence[Chart]:
    """Give the charts of mail in and mail out, `step` hours a bar."""
    parts = [series[start : start + step] for start in range(0, len(series), step)]
    times = [datetime.fromtimestamp(part[0].hour * activity.HOUR_S, ZoneInfo(zone)) for part in parts]
    labels = tuple(f"{one:%H:%M}" if step == 1 else f"{one:%a %H}h" for one in times)
    rows = tuple(f"{one:%a %d %b, %H:%M}" for one in times)

    def summed(kind: str) -> tuple[float, ...]:
        return tuple(float(sum(getattr(one, kind) for one in part)) for part in parts)

    def chart(id: str, title: str, *kinds: tuple[str, str, str]) -> Chart:
        found = tuple(Series(name, summed(kind), tone) for kind, name, tone in kinds)
        told = ", ".join(f"{one.total:,.0f} {one.name.lower()}" for one in found)
        return Chart(id, f"{title}, the last {words}", f"{told}.", labels, rows, found)

    return (
        chart("mail-out", "Mail out", ("delivered", "Delivered", "good"), ("deferred", "Deferred", "wait"),
              ("bounced", "Bounced", "bad")),
        chart("mail-in", "Mail in", ("accepted", "Accepted", "good"), ("rejected", "Rejected", "bad")),
    )  # fmt: skip


def health_link(state: State) -> str:
    """Give where the addresses of a state are listed."""
    rules: Mapping[State, tuple[str, str]] = {
        "critical": ("status", "critical"),
        "gone": ("status", "critical"),
        "paused": ("warmup", "paused"),
        "warming": ("warmup", "warming"),
    }
    if state == "unready":
        return "/server/nodes"
    if state not in rules:
        result = {"listed": "listed", "clean": "clean", "unknown": "not checked"}.get(state)
        rule = {"f": "result", "o": "is", "v": result} if result else {}
        return f"{IPS}?{urlencode({'tab': 'reputation', **rule, 'show': '1'})}"
    field, value = rules[state]
    return f"{IPS}?{urlencode({'tab': 'settings', 'f': field, 'o': 'is', 'v': value, 'show': '1'})}"


# What needs doing


def tasks(visit: Visit, healths: Sequence[Health], held: Mapping[str, int], zone: str) -> Sequence[Task]:
    """Give what needs doing, alarms first."""
    found = []
    trouble = visit.site.trouble()
    if trouble is not None:
        text = "The database of delivery IPs takes no changes; mail goes on by what was last set"
        found.append(Task("critical", text, f"{trouble.reason}: {trouble.hint}."))
    for one in healths:
        told = _task_of(one)
        if told is not None:
            found.append(told)
    for gap in health.silent(visit.database, visit.now):
        text = f"{gap.node} has not reported its addresses"
        text += f" since {moment(gap.since, zone)}" if gap.since is not None else " yet"
        found.append(Task("warning", text, "What is shown of it is the last known.", "Nodes", "/server/nodes"))
    for node in list_nodes(visit.database):
        if node.locked:
            text = f"{node.name} is locked: it delivers nothing, and the mail in its queue is held"
            found.append(Task("critical", text, lock_told(node, visit.now), "Nodes", "/server/nodes"))
    lists = health.unusable_lists(visit.database)
    if lists:
        text = f"{count(len(lists), 'block list')} cannot be asked: {some(lists)}"
        why = "Use a resolver of your own or enter a key; what they say is unknown, not clean."
        found.append(Task("warning", text, why, "Block lists", f"{IPS}?tab=lists&show=1"))
    return [*found, *locked_tasks(visit, held)]


def _task_of(one: Health) -> Task | None:
    where = f"{one.address} on {one.node}"
    check = f"{IPS}?{urlencode({'tab': 'reputation', 'select': one.address})}"
    node = f"/server/nodes/{one.node}"
    if one.state == "suspended":
        resume = f"{IPS}/suspension?{urlencode({'address': one.address, 'to': '/'})}"
        return Task(
            "critical", f"{where} is suspended", one.why, "Use again", resume, opens=True, other=("Reputation", check)
        )
    if one.state == "gone":
        return Task("critical", f"{where} is not on its server", one.why, "Addresses", node)
    if one.state == "listed":
        return Task(
            "critical", f"{where} is listed {one.why}".strip(), "Follow the list's removal page.", "Reputation", check
        )
    if one.state == "critical":
        return Task("critical", f"{where} is unfit to deliver from", one.why, "Addresses", node)
    if one.state == "paused":
        href = f"{IPS}/warm-up?{urlencode({'address': one.address})}"
        return Task("warning", f"The warm-up of {where} is paused", one.why, "Warm-up", href)
    return None


def locked_tasks(visit: Visit, held: Mapping[str, int]) -> Sequence[Task]:
    found = []
    for one in health.locked(visit.database, admins=visit.principal.admins):
        name = f"{one.username}@{one.domain}" if one.username else one.domain
        end = f"{one.username}@{one.domain}"
        waiting = sum(number for user, number in held.items() if user == end or (not one.username and user.endswith(end)))
        if waiting:
            query = {"owner": one.domain, **({"user": one.username} if one.username else {})}
            text = f"{name} is locked; its mail for {count(waiting, 'recipient')} waits in the queue"
            found.append(Task("warning", text, one.reason, "Queue", f"/outgoing/queue?{urlencode(query)}"))
    return found


def first_steps(visit: Visit) -> Sequence[tuple[str, str, str]]:
    """Give what is left to do on a fresh install, in order: what, why, where."""
    nodes = list_nodes(visit.database)
    domains = directory.list_domains(visit.database)
    listed = setting_list.list_page(visit.database, Query(per_page=500), visit.now)
    chosen = any(not one.is_unset for one in listed.rows)
    with visit.database.read() as session:
        told = site.read(session)
    steps = (
        (any(one.reported_at for one in nodes), "Let the server report its addresses",
         "It does so by itself, within a few seconds of its start.", "/server/nodes"),
        (bool(domains), "Add your customers' domains and outgoing users",
         "Whose mail this server sends, and who may sign in to send it.", "/customers/domains"),
        (chosen, "Configure outgoing IPs", "Until then all mail leaves from each server's primary address.", f"{IPS}/new"),
        (bool(told.alert_addresses or told.alert_webhook), "Say who is told of listings and lost addresses",
         "By mail, or by a webhook.", "/server/settings#alert_addresses"),
    )  # fmt: skip
    return [step[1:] for step in steps if not step[0]]


# What is there


def _queue(visit: Visit) -> tuple[Mapping[str, Any] | None, str]:
    asked = {"by": "recipientdomain", "most": MOST_DESTINATIONS, "egress": mail.scoped(visit)}
    try:
        return mail.ask(visit, "queue.summary", asked), ""
    except Refused as error:
        return None, error.message


def _held(visit: Visit) -> Mapping[str, int]:
    """Give how many recipients of each locked user wait."""
    if not health.locked(visit.database, admins=visit.principal.admins):
        return {}
    try:
        found = mail.ask(visit, "queue.summary", {"by": "user", "egress": mail.scoped(visit)})
    except Refused:
        return {}
    return {one["value"]: one["count"] for one in found["groups"]}


def _nodes(visit: Visit) -> Sequence[Mapping[str, Any]]:
    silent = {one.node for one in health.silent(visit.database, visit.now)}
    return [
        {
            "name": one.name,
            "is_silent": one.name in silent,
            "is_locked": one.locked,
            "reported": ago(one.reported_at, visit.now),
            "addresses": len(one.addresses),
            "is_here": one.name == visit.site.node,
        }
        for one in list_nodes(visit.database)
    ]
