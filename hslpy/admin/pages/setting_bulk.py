"""What is done with rows of the list of delivery settings: one, several, all that were found. In: visits. Out: pages.

Source: B2.5, B2.6 and B9 of the specification of delivery IPs. Every rule is in `egress`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from fastapi.responses import Response

from hslpy.admin import queued_mail
from hslpy.admin.pages.delivery_ips import PATH
from hslpy.admin.pages.listing import query_from
from hslpy.admin.pages.setting_edit import name_of, tell
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Tone, Visit, numbers
from hslpy.egress.accounts.admins import count
from hslpy.egress.addresses import inventory
from hslpy.egress.checks import setting_form
from hslpy.egress.delivery_ips import setting_list, setting_sheet, settings
from hslpy.egress.delivery_ips.setting_rows import Edit, Outcome, Row
from hslpy.egress.delivery_ips.settings import CLEAN_FIRST
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.names import Refused

_MOST_NAMED = 20


def chosen(visit: Visit) -> Sequence[Row]:
    """Give the rows that were chosen: by their boxes, or all that the query finds. Raises Refused for none."""
    if visit.field("all"):
        ids = setting_list.matching_ids(visit.database, query_from(visit.field("query")), visit.now)
    else:
        ids = numbers((*visit.fields("id"), *visit.asked_all("id")))
    rows = setting_list.rows_by_id(visit.database, ids)
    if not rows:
        raise Refused("choose at least one row")
    return rows


def _shown(visit: Visit, template: str, rows: Sequence[Row], status: int = 200, **context: Any) -> Response:
    """Show a page about rows; it sends the same choice again."""
    fields: dict[str, Any] = {"to": visit.field("to", f"{PATH}?tab=settings&show=1&match=all")}
    fields |= {"all": "1", "query": visit.field("query")} if visit.field("all") else {"id": [one.id for one in rows]}
    return visit.render(
        template,
        status,
        rows=rows,
        names=[f"{name_of(one)} on {one.hostname}" for one in rows[:_MOST_NAMED]],
        more=max(0, len(rows) - _MOST_NAMED),
        fields=fields,
        **{"errors": {}, **context},
    )


def _done(visit: Visit, outcome: Outcome, rows: Sequence[Row], what: str) -> Response:
    """Tell what came of it, row by row where some failed."""
    if outcome.failed:
        by_id = {one.id: one for one in rows}
        named = tuple(
            (row_id, f"{name_of(by_id[row_id])} on {by_id[row_id].hostname}: {reason}" if row_id in by_id else reason)
            for row_id, reason in outcome.failed
        )
        text = f"{count(len(outcome.done), 'setting')} {what}, {len(named)} not:"
        tell(visit, dataclasses.replace(outcome, failed=named), text)
    else:
        tell(visit, outcome, f"{count(len(outcome.done), 'setting')} {what}.")
    return visit.redirect(visit.field("to", PATH))


@page(f"{PATH}/bulk", methods=("POST",))
async def act(visit: Visit) -> Response:
    """Go on with the action that was chosen in the bulk bar."""
    action = visit.field("do")
    rows = await asyncio.to_thread(chosen, visit)
    if action == "replace":
        return await _ask_replace(visit, rows)

    def work() -> Response:
        if action == "edit":
            return _ask_edit(visit, rows)
        if action == "remove":
            return _ask_remove(visit, rows)
        if action == "export":
            return visit.csv(setting_sheet.export(rows), "delivery-ips.csv")
        raise Refused("choose an action")

    return await asyncio.to_thread(work)


# Remove


@page(f"{PATH}/remove")
def ask_remove(visit: Visit) -> Response:
    return _ask_remove(visit, chosen(visit))


def _ask_remove(visit: Visit, rows: Sequence[Row]) -> Response:
    defaults = sum(one.level == "default" for one in rows)
    return _shown(visit, "setting_remove.html", rows, defaults=defaults, title=_title(len(rows), defaults))


def _title(number: int, defaults: int) -> str:
    if defaults == number:
        return "Revert to primary" if number == 1 else f"Revert {number} servers to primary"
    return f"Remove {count(number, 'delivery IP setting')}"


@page(f"{PATH}/remove", methods=("POST",))
def remove(visit: Visit) -> Response:
    rows = chosen(visit)
    if visit.is_resumed:
        return _ask_remove(visit, rows)
    outcome = settings.remove(visit.database, visit.actor, [one.id for one in rows])
    what = "reverted to primary" if all(one.level == "default" for one in rows) else "removed"
    return _done(visit, outcome, rows, what)


# Edit


def _ask_edit(visit: Visit, rows: Sequence[Row], errors: dict[str, str] | None = None) -> Response:
    hosts = sorted({one.hostname for one in rows})
    found = None
    if len(hosts) == 1:
        with visit.database.read() as session:
            found = setting_form.inventory_of(session, hosts[0], visit.now, allow_loopback=visit.site.allow_loopback)
    return _shown(
        visit,
        "setting_bulk_edit.html",
        rows,
        400 if errors else 200,
        title=f"Edit {count(len(rows), 'delivery IP setting')}",
        errors=errors or {},
        hosts=hosts,
        inventory=found,
        form=visit.form,
    )


@page(f"{PATH}/bulk-edit", methods=("POST",))
def bulk_edit(visit: Visit) -> Response:
    rows = chosen(visit)
    if visit.is_resumed:
        return _ask_edit(visit, rows)
    what = Edit(
        _list(visit, "ipv4") if visit.field("change_ipv4") else None,
        _list(visit, "ipv6") if visit.field("change_ipv6") else None,
        visit.field("ipv4_delivery") == "disabled" if visit.field("change_delivery") else None,
        visit.field("strict") == "yes" if visit.field("change_strict") else None,
    )
    try:
        outcome = settings.bulk_edit(
            visit.database, visit.actor, [one.id for one in rows], what, allow_loopback=visit.site.allow_loopback
        )
    except Refused as error:
        return _ask_edit(visit, rows, {"": f"{error.message[:1].upper()}{error.message[1:]}."})
    return _done(visit, outcome, rows, "changed")


def _list(visit: Visit, name: str) -> str:
    return ";".join([*visit.fields(name), *visit.field(f"other_{name}").replace(",", ";").split(";")])


# Replace IP


async def _ask_replace(visit: Visit, rows: Sequence[Row], errors: dict[str, str] | None = None) -> Response:
    queued = await queued_mail.of_locked(visit.database, visit.site.control, visit.site.node)
    addresses = sorted({one for row in rows for one in (*row.ipv4, *row.ipv6)} - set(PRIMARY.values()))
    if not addresses:
        raise Refused("none of these rows has an address that could be replaced")

    def work() -> Response:
        known: set[str] = set()
        with visit.database.read() as session:
            for host in sorted({one.hostname for one in rows}):
                known |= {one.address for one in setting_form.inventory_of(session, host, visit.now).choices}
        return _shown(
            visit,
            "setting_replace.html",
            rows,
            400 if errors else 200,
            title="Replace IP",
            errors=errors or {},
            addresses=addresses,
            known=sorted(known),
            queued=queued,
            advice=CLEAN_FIRST,
            old=visit.field("old"),
            new=visit.field("new"),
        )

    return await asyncio.to_thread(work)


@page(f"{PATH}/replace", methods=("POST",))
async def replace(visit: Visit) -> Response:
    rows = await asyncio.to_thread(chosen, visit)
    if visit.is_resumed:
        return await _ask_replace(visit, rows)
    queued = await queued_mail.of_locked(visit.database, visit.site.control, visit.site.node)
    if queued != 0 and not visit.field("cleaned"):
        return await _ask_replace(visit, rows, {"cleaned": "Tick that the queue has been dealt with."})
    old = visit.field("old")
    having = [one for one in rows if old in (*one.ipv4, *one.ipv6)]

    def work() -> Outcome:
        return settings.replace_address(
            visit.database,
            visit.actor,
            [one.id for one in having],
            old,
            visit.field("new"),
            queued_spam=queued,
            is_confirmed=bool(visit.field("cleaned")),
            allow_loopback=visit.site.allow_loopback,
        )

    try:
        outcome = await asyncio.to_thread(work)
    except Refused as error:
        return await _ask_replace(visit, rows, {"new": f"{error.message[:1].upper()}{error.message[1:]}."})
    return await asyncio.to_thread(_done, visit, outcome, rows, f"changed: {old} is now {visit.field('new').strip()}")


# One row, and nodes


@page(f"{PATH}/{{id:int}}/check", methods=("POST",))
async def check_row(visit: Visit) -> Response:
    """Check the addresses of a setting now, where it has none those of its node that are used then."""

    def look() -> tuple[str, Sequence[str]]:
        row = setting_list.get(visit.database, visit.id())
        chosen = [one for one in (*row.ipv4, *row.ipv6) if one not in PRIMARY.values()]
        with visit.database.read() as session:
            node = inventory.node_of(session, row.hostname)
            return row.hostname, chosen or [one for one in (node.primary_ipv4, node.primary_ipv6) if one]

    return await check_addresses(visit, *await asyncio.to_thread(look))


async def check_addresses(visit: Visit, node: str, addresses: Sequence[str]) -> Response:
    """Check addresses of a node now, keep what is found, and say it on the page that the visitor came from."""
    to = visit.field("to", PATH)
    if visit.site.checker is None:
        raise Refused("this server cannot run checks", 503)
    results = await visit.site.checker.check_now(node, addresses)
    bad = [
        (one.outcome, f"{address}: {one.text}")
        for address, found in results.items()
        for one in found
        if one.outcome in ("critical", "warning")
    ]
    tone: Tone = "ok" if not bad else "critical" if any(outcome == "critical" for outcome, _ in bad) else "warning"
    said = f"{count(len(addresses), 'address', 'addresses')} checked: {count(len(bad), 'finding')}."
    visit.banner(said, tone, [text for _, text in bad])
    return visit.redirect(to)


@page(f"{PATH}/rescan", methods=("POST",))
def rescan(visit: Visit) -> Response:
    with visit.database.change(visit.actor, "node rescan") as change:
        inventory.ask_rescan(change)
    visit.banner("The servers have been asked for their addresses; they report within 10 seconds.", "info")
    return visit.redirect(visit.field("to", PATH))
