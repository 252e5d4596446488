"""The nodes that mail leaves from, and the addresses each has. In: visits. Out: pages.

Super-admins change them; who only reads sees all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fastapi.responses import Response

from hslpy.admin.pages import simple
from hslpy.admin.pages.render import ago
from hslpy.admin.pages.setting_bulk import check_addresses
from hslpy.admin.pages.simple import Form, Input, again, form_page, removal
from hslpy.admin.pages.table import page
from hslpy.admin.pages.things import STATE, Cell, Column, Things, listed, lock_told
from hslpy.admin.pages.visit import Visit
from hslpy.egress import health, node_addresses
from hslpy.egress.accounts.admins import Role
from hslpy.egress.accounts.nodes import Node, add_node, list_nodes, lock_node, remove_node, set_node, unlock_node
from hslpy.egress.addresses import inventory
from hslpy.egress.checks import checkup
from hslpy.egress.checks.facts import Finding
from hslpy.egress.delivery_ips.queries import Field, text_test
from hslpy.egress.rules.names import NotFound, Refused

PATH = "/server/nodes"
VIEWERS: Sequence[Role] = ("super-admin", "read-only")


@page(PATH, roles=VIEWERS, title="Nodes", group="Server", order=10)
def show_all(visit: Visit) -> Response:
    may_change = visit.principal.role == "super-admin"
    silent = {one.node for one in health.silent(visit.database, visit.now)}

    def menu(one: Node) -> Sequence[Mapping[str, str]]:
        entries = [{"text": "Addresses", "href": f"{PATH}/{quote(one.name)}"}]
        if not may_change:
            return entries
        asked = urlencode({"name": one.name})
        return [
            *entries,
            {"text": "Edit", "href": f"{PATH}/edit?{asked}", "dialog": "1"},
            {"text": "Rescan addresses", "post": f"{PATH}/rescan?{asked}"},
            {"text": "Unlock…" if one.locked else "Lock…", "href": f"{PATH}/lock?{asked}", "dialog": "1"},
            {"text": "Remove…", "href": f"{PATH}/remove?{asked}", "dialog": "1", "danger": "1"},
        ]

    def state(one: Node) -> Cell:
        if one.locked:
            return Cell("Locked", "critical", more=lock_told(one, visit.now))
        if one.reported_at is None:
            return Cell("Never reported", "warning", more="This server has not reported its addresses yet.")
        if one.name in silent:
            return Cell(
                "Silent", "warning", more=f"reported {ago(one.reported_at, visit.now)}; shown are the last known values"
            )
        return Cell("Reporting", "ok", more=f"reported {ago(one.reported_at, visit.now)}")

    columns = {
        "name": Column("Node", lambda one: Cell(one.name, href=f"{PATH}/{quote(one.name)}",
                                                more="this one" if one.name == visit.site.node else "")),
        "ipv4": Column("Primary IPv4", lambda one: Cell(one.primary_ipv4, mono=True)),
        "ipv6": Column("Primary IPv6", lambda one: Cell(one.primary_ipv6 if one.ipv6_enabled else "IPv6 is off",
                                                        mono=one.ipv6_enabled)),
        "addresses": Column("Addresses", lambda one: str(len(one.addresses)), lambda one: len(one.addresses)),
        "state": Column("State", state),
    }  # fmt: skip
    fields = (
        Field("name", "Node", "text", text_test(lambda one: (one.name,))),
        Field("address", "Address", "text", text_test(lambda one: (*one.addresses, one.primary_ipv4, one.primary_ipv6))),
        STATE,
    )
    things = Things(
        "nodes", PATH, "Nodes",
        "The servers of this cluster. Each adds itself when it starts, and reports its addresses then and every hour.",
        "node", "nodes", columns, fields, lambda one: one.name, menu,
        (("Add a node", f"{PATH}/new"),) if may_change else (), "No server has started yet.",
    )  # fmt: skip
    return listed(visit, things, list_nodes(visit.database))


def _form(visit: Visit) -> Form:
    asked = visit.field("before") or visit.asked("name")
    one = _node(visit, asked) if asked else None
    empty = "Empty: found out by the node itself."
    inputs = (
        Input("name", "Host name", value=one.name if one is not None else "", required=True),
        Input("primary_ipv4", "Primary IPv4 address", value=one.primary_ipv4 if one is not None else "", hint=empty),
        Input("primary_ipv6", "Primary IPv6 address", value=one.primary_ipv6 if one is not None else "", hint=empty),
        Input("ipv6_enabled", "It delivers over IPv6", "tick", "1" if one is None or one.ipv6_enabled else ""),
        Input("addresses", "Other addresses that it has", "lines", hint="One a line. It reports its own once it runs."),
    )
    if one is None:
        return Form("Add a node", f"{PATH}/new", "Add", PATH, inputs)
    return Form(f"Edit {one.name}", f"{PATH}/edit", "Save", PATH, inputs, hidden={"before": one.name})


def _entered(visit: Visit) -> dict[str, Any]:
    return {
        "primary_ipv4": visit.field("primary_ipv4"),
        "primary_ipv6": visit.field("primary_ipv6"),
        "ipv6_enabled": visit.field("ipv6_enabled") == "1",
        "addresses": visit.field("addresses").replace(",", " ").split(),
    }


@form_page(f"{PATH}/new", _form, back=PATH, field="name")
def add(visit: Visit) -> str:
    name = visit.field("name").strip()
    add_node(visit.database, visit.actor, name, **_entered(visit))
    return f"The node {name} has been added. It reports its addresses by itself once it runs."


@form_page(f"{PATH}/edit", _form, back=PATH, field="name")
def save(visit: Visit) -> str:
    before = _node(visit, visit.field("before"))
    set_node(visit.database, visit.actor, before.name, new_name=visit.field("name"), **_entered(visit))
    return f"The node {before.name} has been changed."


def _lock_form(visit: Visit) -> Form:
    one = _node(visit, visit.given("name"))
    hidden = {"name": one.name, "locked": "" if one.locked else "1"}
    if one.locked:
        text = f"It delivers again, and the mail in its queue goes on. It was locked {lock_told(one, visit.now)}."
        return Form(f"Unlock {one.name}?", f"{PATH}/lock", "Unlock", PATH, text=text, hidden=hidden)
    reason = Input("reason", "Reason", hint="For you and your colleagues; the queue shows it with the mail that waits.")
    text = "It delivers nothing any more: the mail in its queue is held until it is unlocked. It goes on taking mail."
    return Form(f"Lock {one.name}?", f"{PATH}/lock", "Lock", PATH, (reason,), text, hidden=hidden, is_danger=True)


@form_page(f"{PATH}/lock", _lock_form, back=PATH)
def lock(visit: Visit) -> str:
    one = _node(visit, visit.field("name"))
    if visit.field("locked") == "1":
        lock_node(visit.database, visit.actor, one.name, visit.field("reason"))
        return f"{one.name} is locked: it delivers nothing."
    unlock_node(visit.database, visit.actor, one.name)
    return f"{one.name} is no longer locked."


def _removal_form(visit: Visit) -> Form:
    name = visit.given("name")
    found = remove_node(visit.database, visit.actor, name, only_look=True)
    return removal(f"Remove the node {name}?", f"{PATH}/remove", PATH, found, name=name)


@form_page(f"{PATH}/remove", _removal_form, back=PATH)
def remove(visit: Visit) -> str:
    return f"Removed: {remove_node(visit.database, visit.actor, visit.field('name')).text}."


@page(f"{PATH}/rescan", methods=("POST",))
def rescan(visit: Visit) -> Response:
    name = visit.asked("name") or visit.field("name")
    told = [name] if name else []
    with visit.database.change(visit.actor, "node rescan", {"nodes": told}) as change:
        inventory.ask_rescan(change, told)
    visit.banner(f"{name or 'Each node'} reports its addresses within 10 seconds.", "info")
    return visit.redirect(visit.field("to", PATH))


@page(f"{PATH}/{{name}}", roles=VIEWERS)
def addresses(visit: Visit) -> Response:
    """Show a node's addresses with all that is known of each."""
    node = _node(visit, visit.part("name"))
    rows = node_addresses.addresses_of(visit.database, node.name, visit.now)
    silent = any(one.node == node.name for one in health.silent(visit.database, visit.now))
    context = {"node": node, "rows": rows, "is_silent": silent, "may_change": visit.principal.role == "super-admin"}
    context["lock_told"] = lock_told
    with visit.database.read() as session:
        context["findings"] = {one.address: told_of(one) for one in checkup.kept(session, node.name)}
    return visit.render("node.html", title=node.name, **context)


def told_of(found: checkup.Kept) -> Sequence[Finding]:
    """Give what the latest checks found fault with, the worst first."""
    bad = [one for one in found.findings if one.outcome in ("critical", "warning")]
    return sorted(bad, key=lambda one: one.outcome)


@page(f"{PATH}/{{name}}/check", methods=("POST",))
async def check(visit: Visit) -> Response:
    """Check all addresses of a node that mail can leave from, now."""

    def look() -> Sequence[str]:
        rows = node_addresses.addresses_of(visit.database, visit.part("name"), visit.now)
        return [one.address for one in rows if one.can_send and (one.present or one.used)]

    return await check_addresses(visit, visit.part("name"), await asyncio.to_thread(look))


@page(f"{PATH}/{{name}}/nat")
def ask_nat(visit: Visit) -> Response:
    return simple.show(visit, _nat_form(visit, visit.part("name"), visit.asked("address")))


@page(f"{PATH}/{{name}}/nat", methods=("POST",))
def set_nat(visit: Visit) -> Response:
    name, address, public = visit.part("name"), visit.field("address"), visit.field("public_address").strip()
    told = {"node": name, "address": address, "public_address": public}
    try:
        with visit.database.change(visit.actor, "node nat", told) as change:
            inventory.set_public_address(change, name, address, public)
    except NotFound:
        raise
    except Refused as error:
        return again(visit, _nat_form(visit, name, address), error, "public_address")
    visit.banner(f"{address} is translated to {public}." if public else f"{address} is not translated.")
    return visit.redirect(f"{PATH}/{quote(name)}")


def _node(visit: Visit, name: str) -> Node:
    found = next((one for one in list_nodes(visit.database) if one.name == name.strip().lower()), None)
    if found is None:
        raise NotFound(f"there is no node '{name}'")
    return found


def _nat_form(visit: Visit, name: str, address: str) -> Form:
    known = node_addresses.addresses_of(visit.database, name, visit.now)
    value = next((one.public_address for one in known if one.address == address), "")
    inputs = (Input("public_address", "Public address", value=value, hint="Empty: it is not translated."),)
    text = f"What the world sees where mail leaves {name} from {address}: checks and block lists go by it."
    back = f"{PATH}/{quote(name)}"
    return Form(f"Public address of {address}", f"{back}/nat", "Save", back, inputs, text, hidden={"address": address})
