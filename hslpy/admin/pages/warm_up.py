"""Warming up an address: how far it is, its plan, what can be ordered. In: visits. Out: pages, drawers with the script.

Source: section B4 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.pages import simple
from hslpy.admin.pages.charts import Chart, Series
from hslpy.admin.pages.delivery_ips import PATH as IPS
from hslpy.admin.pages.simple import Form, Input, again
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import Role
from hslpy.egress.rules.names import Refused
from hslpy.egress.warm_up import warm_view, warming
from hslpy.egress.warm_up.warm_view import Day, View

PATH = f"{IPS}/warm-up"
VIEWERS: Sequence[Role] = ("super-admin", "read-only")
BADGES: Mapping[str, tuple[str, str]] = {
    "none": ("plain", "No warm-up"),
    "warming": ("busy", "Warming up"),
    "paused": ("warning", "Paused"),
    "done": ("ok", "Warm"),
    "cold": ("warning", "Cold"),
}
_DAY = (0.0, 6.0, 12.0, 18.0, 24.0)
DAY_WORDS: Mapping[str, tuple[str, str]] = {
    "done": ("ok", "Done"),
    "repeated": ("warning", "Repeated"),
    "today": ("busy", "Today"),
    "planned": ("plain", "Planned"),
}
Order = Callable[..., Any]
ORDERS: Mapping[str, tuple[str, Order, str, str]] = {
    "start": ("Start warm-up", warming.start, "", "The warm-up of {} has been started."),
    "pause": ("Pause", warming.pause, "", "The warm-up of {} is paused: nothing is sent from it."),
    "resume": ("Resume", warming.resume, "", "The warm-up of {} goes on, with the day on which it was paused."),
    "repeat day": ("Repeat day", warming.repeat_day, "", "Tomorrow {} has the same day of its plan as today."),
    "plan": ("Change the plan", warming.change_plan, "", "The plan of {} has been changed."),
    "restart": (
        "Restart",
        warming.restart,
        "It begins again with the first day, today. The days done so far are forgotten.",
        "The warm-up of {} begins again today.",
    ),
    "skip to warm": (
        "Skip to warm",
        warming.skip_to_warm,
        "From now on it is used as any other address, at once with all mail that its settings give it. Receivers that do "
        "not know it yet may put that mail off or block the address.",
        "{} is warm now.",
    ),
    "already warm": (
        "Already warm",
        warming.mark_warm,
        "Say so only of an address that mail left from in the last 30 days.",
        "{} is taken as warm.",
    ),
    "do not send yet": (
        "Do not send yet",
        warming.hold_back,
        "Nothing is sent from it until its warm-up is started.",
        "Nothing is sent from {} until its warm-up is started.",
    ),
}
"""What can be ordered: the button, the function, what is asked before it (empty: nothing), what is said after it."""


@page(PATH, roles=VIEWERS, title="Warm-up", group="Outgoing", order=15)
def show(visit: Visit) -> Response:
    addresses = [part for one in visit.asked_all("address") for part in one.replace(",", " ").split()]
    if len(addresses) != 1:
        views = [warm_view.view(visit.database, one, visit.now) for one in addresses]
        views = views or list(warm_view.views(visit.database, visit.now))
        return visit.render("warm_ups.html", title="Warm-up", views=views, badges=BADGES, asked=addresses)
    view = warm_view.view(visit.database, addresses[0], visit.now)
    with visit.database.read() as session:
        zone = site.read(session).time_zone
    context = {
        "view": view,
        "badge_of": BADGES[view.badge],
        "words": DAY_WORDS,
        "charts": charts(view.days),
        "zone": zone,
        "orders": [(key, ORDERS[key][0]) for key in view.orders] if visit.principal.role == "super-admin" else [],
        "needs_page": {key for key, (_, _, question, _) in ORDERS.items() if question} | {"start", "plan"},
    }
    return visit.render("warm_up.html", title=f"Warm-up of {view.address}", **context)


@page(f"{PATH}/order")
def ask(visit: Visit) -> Response:
    """Ask for a plan, or whether it is meant."""
    key, address = _key(visit.asked("do")), visit.asked("address")
    view = warm_view.view(visit.database, address, visit.now)
    return simple.show(visit, _form(view, key))


@page(f"{PATH}/order", methods=("POST",))
def carry_out(visit: Visit) -> Response:
    key, address = _key(visit.field("do")), visit.field("address")
    _, order, _, said = ORDERS[key]
    try:
        order(visit.database, visit.actor, address, **(_plan_given(visit) if key in ("start", "plan") else {}))
    except Refused as error:
        if key not in ("start", "plan"):
            raise
        form = _form(warm_view.view(visit.database, address, visit.now), key, asks=error.status == 409)
        return again(visit, form, error, "window_start")
    visit.banner(said.format(address), "warning" if key in ("pause", "do not send yet") else "ok")
    return visit.redirect(f"{PATH}?{urlencode({'address': address})}")


def charts(days: Sequence[Day]) -> Sequence[Chart]:
    """Give the charts of a plan: its hours and those used, its messages where they are limited and those sent."""
    if not days:
        return ()
    labels = tuple(f"{one.date:%d %b}" for one in days)
    rows = tuple(f"{one.date:%a %d %b}, day {one.day}" for one in days)

    def chart(
        id: str, title: str, planned: tuple[float, ...], done: tuple[float, ...], words: str, marks: tuple[float, ...] = ()
    ) -> Chart:
        series = [Series("Planned", planned, "plan")] if any(planned) else []
        series.append(Series(words, done, "good"))
        told = ", ".join(f"{row}: {value:,.0f}" for row, value in zip(rows, planned if any(planned) else done, strict=True))
        summary = f"{'Planned' if any(planned) else words}: {told}."
        return Chart(id, title, summary, labels, rows, tuple(series), "Day", "grouped", marks)

    hours = tuple(float(one.hours) for one in days)
    limits = tuple(float(one.limit or 0) for one in days)
    return (
        chart("hours", "Hours a day", hours, tuple(float(one.hours_used or 0) for one in days), "With mail", _DAY),
        chart("messages", "Messages a day", limits, tuple(float(one.messages or 0) for one in days), "Sent"),
    )


def _key(text: str) -> str:
    if text not in ORDERS:
        raise Refused(f"a warm-up knows no order '{text}'")
    return text


def _form(view: View, key: str, *, asks: bool = False) -> Form:
    button, _, question, _ = ORDERS[key]
    back = f"{PATH}?{urlencode({'address': view.address})}"
    hidden = {"do": key, "address": view.address}
    if key not in ("start", "plan"):
        is_danger = key in ("skip to warm", "restart")
        title = f"{button}: {view.address}?"
        return Form(title, f"{PATH}/order", button, back, text=question, hidden=hidden, is_danger=is_danger)
    plan = view.plan if key == "plan" else None
    kinds = [("windows", "hours a day"), ("volume", "messages an hour"), ("both", "both")]
    limits = "windows" if plan is None or not plan.hourly else "both" if plan.windows else "volume"
    inputs = [
        Input(
            "days", "Days", value=str(plan.days) if plan else "7", hint="7 or more; receivers take time to trust an address."
        ),
        Input("limits", "What is limited", "select", limits, kinds),
        Input("window_start", "The hours begin at", value=f"{plan.window_start:%H:%M}" if plan else "09:00"),
        Input(
            "curve",
            "How the hours grow",
            "select",
            plan.curve if plan else "gentle",
            [("gentle", "gently: 1, 2, 3, 5, 8, 14, 24"), ("linear", "evenly: 1, 5, 9, 12, 16, 20, 24")],
        ),
        Input(
            "hourly",
            "Messages an hour, by day",
            value=", ".join(map(str, plan.hourly)) if plan else "",
            hint="With commas, such as 20, 28, 39; empty: the published series.",
        ),
        Input(
            "burst",
            "At once",
            value=str(plan.burst) if plan else "3",
            hint="1 to 5 messages, so that an hour is not spent in its first minute.",
        ),
    ]
    if key == "start":
        inputs.insert(1, Input("start", "First day", hint="Such as 2026-03-02; empty: today."))
    if asks:
        inputs.append(Input("confirmed", "Fewer than 7 days are meant", "tick"))
    return Form(f"{button}: {view.address}", f"{PATH}/order", button, back, inputs, hidden=hidden)


def _plan_given(visit: Visit) -> dict[str, Any]:
    limits = visit.field("limits", "windows")
    hourly = visit.field("hourly").strip() or "default"
    return {
        "start": visit.field("start"),
        "days": visit.field("days"),
        "window_start": visit.field("window_start"),
        "curve": visit.field("curve"),
        "windows": limits != "volume",
        "hourly": hourly if limits != "windows" else "",
        "burst": visit.field("burst"),
        "confirmed": visit.field("confirmed") == "1",
    }
