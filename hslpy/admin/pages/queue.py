"""The queue of this node, one message of it, and the latest attempts. In: visits. Out: pages.

What is shown and ordered is the mail server's; an admin sees the mail of their own domains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.pages import mail
from hslpy.admin.pages.table import EVERYBODY, SUPER, page
from hslpy.admin.pages.visit import Tone, Visit
from hslpy.admin.queue_commands import STATES
from hslpy.egress.accounts import directory, site
from hslpy.egress.accounts.admins import count
from hslpy.egress.addresses import inventory
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.records import record

PATH = "/outgoing/queue"
LOG = "/outgoing/log"
PER_PAGE = 50
MOST_NAMED = 10
MOST_CONTENT = 100_000  # characters of a message
ORDERS: Mapping[str, tuple[str, str, str]] = {
    "hold": ("queue.hold", "Hold", "held"),
    "release": ("queue.release", "Retry now", "due now"),
    "remove": ("queue.delete", "Remove", "removed, without a bounce"),
}
"""What can be done with recipients: the mail server's command, the button, what they are then."""
TONES: Mapping[str, Tone | str] = {
    "due": "info",
    "waiting": "plain",
    "in-flight": "busy",
    "held": "warning",
    "quarantined": "warning",
    "delivered": "ok",
    "deferred": "warning",
    "bounced": "critical",
    "deleted": "unknown",
    "under way": "busy",
}
OUTCOMES = ("delivered", "deferred", "bounced", "waiting", "deleted", "under way")


@record
class Wanted:
    """What is looked for in the queue, as the address of the page has it."""

    state: str = ""
    destination: str = ""
    recipient: str = ""
    sender: str = ""
    sender_domain: str = ""
    owner: str = ""
    user: str = ""
    address: str = ""

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the queue itself."""
        found = {
            "recipientdomain": _ascii(self.destination),
            "recipient": self.recipient,
            "sender": self.sender,
            "senderdomain": _ascii(self.sender_domain),
        }
        return {key: value for key, value in found.items() if value}

    @property
    def egress(self) -> Mapping[str, Sequence[str]]:
        """What the choice of delivery IPs goes by."""
        found = {"domain": _ascii(self.owner), "username": self.user, "from": self.address}
        return {key: [value] for key, value in found.items() if value}

    @property
    def arguments(self) -> Mapping[str, str]:
        return {key: value for key in WANTED if (value := getattr(self, key))}


WANTED: Mapping[str, str] = {
    "state": "State",
    "destination": "Destination domain",
    "recipient": "Recipient",
    "sender_domain": "Sender's domain",
    "sender": "Sender",
    "owner": "Customer's domain",
    "user": "Outgoing user",
    "address": "Tried from address",
}


@record
class Order:
    """What is asked for the confirmation of: which recipients, by name where there are few."""

    key: str
    count: int
    names: Sequence[str] = ()
    hidden: Mapping[str, Any] = field(default_factory=dict, hash=False)


@page(PATH, roles=EVERYBODY, title="Queue", group="Outgoing", order=30)
def show(visit: Visit) -> Response:
    wanted = _wanted({name: visit.asked(name) for name in WANTED})
    text = visit.asked("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    asked = {"filter": wanted.fields, "egress": mail.scoped(visit, **wanted.egress), "state": wanted.state}
    context: dict[str, Any] = {"wanted": wanted, "fault": "", "found": None, "states": {}, "gaps": ()}
    try:
        window = {"limit": PER_PAGE, "offset": (max(number, 1) - 1) * PER_PAGE}
        context["found"] = found = mail.ask(visit, "queue.list", {**asked, **window})
        whole = {"by": "recipientdomain", "most": 0, "egress": mail.scoped(visit)}
        summary = mail.ask(visit, "queue.summary", whole)
        found["recipients"] = list(map(_row, found["recipients"]))
        context |= {"states": summary["states"], "gaps": mail.gaps(found), "pages": -(-found["matching"] // PER_PAGE)}
    except Refused as error:
        context["fault"] = error.message
    arguments = wanted.arguments
    context |= {
        "page": number,
        "zone": _zone(visit),
        "tones": TONES,
        "all_states": STATES,
        "labels": WANTED,
        "may_order": visit.principal.role == "super-admin",
        "orders": [(key, text) for key, (_, text, _) in ORDERS.items()],
        "here": f"{PATH}?{urlencode(arguments)}" if arguments else PATH,
        "at": lambda page: f"{PATH}?{urlencode({**arguments, 'page': page})}",
        "query": urlencode(arguments),
        "domains": [one.name for one in directory.list_domains(visit.database, admins=visit.principal.admins)],
        "elsewhere": mail.elsewhere(visit),
        "sees_all": visit.principal.admins is None,
    }
    return visit.render("queue.html", title="Queue", **context)


@page(f"{PATH}/order", methods=("POST",), roles=SUPER)
def confirm(visit: Visit) -> Response:
    """Ask before anything is done, with the number and the names."""
    order = _order(visit)
    _, text, _ = ORDERS[order.key]
    return visit.render("queue_order.html", title=text, order=order, text=text, to=visit.field("to", PATH))


@page(f"{PATH}/carry-out", methods=("POST",), roles=SUPER)
def carry_out(visit: Visit) -> Response:
    order = _order(visit)
    command, text, become = ORDERS[order.key]
    which = _which(visit)
    done = mail.ask(visit, command, which, 30.0)
    told = f"{count(done['count'], 'recipient')} {become}"
    if done["later"]:
        told += f" ({done['later']} once the attempt under way has ended)"
    visit.database.record(visit.actor, f"queue {text.split()[0].lower()}", {**which}, told)
    visit.banner(f"{told[:1].upper()}{told[1:]}.", "ok" if done["count"] else "warning", mail.gaps(done))
    to = visit.field("to", PATH)
    return visit.redirect(PATH if order.key == "remove" and "/message/" in to else to)


@page(f"{PATH}/message/{{id}}", roles=EVERYBODY)
def message(visit: Visit) -> Response:
    """Show all that is known of a message: who it is for, each attempt, why it left from where."""
    text = visit.part("id")
    recipients, why_none, transaction = _recipients(visit, text)
    fault = ""
    if recipients:
        transaction = recipients[0]["transaction_id"]
    try:
        attempts = _deliveries(visit, {"transaction": [transaction]}, 500)
    except Refused as error:
        attempts, fault = {"rows": [], "since": 0.0, "matching": 0}, error.message
    if not recipients and not attempts["rows"]:
        raise NotFound(why_none or f"nothing in the queue has the id {text}, and no attempt of it is remembered")
    may_order = visit.principal.role == "super-admin"
    content = ""
    if may_order and recipients and visit.asked("content") == "1":
        queue_id = str(recipients[0]["queue_id"])
        content = mail.ask(visit, "queue.show", {"id": queue_id, "content": True})["content"]
        visit.database.record(visit.actor, "queue read", {"transaction": transaction, "queue_id": queue_id}, "")
    context = {
        "content": content[:MOST_CONTENT],
        "cut": max(0, len(content) - MOST_CONTENT),
        "recipients": recipients,
        "attempts": attempts,
        "transaction": transaction,
        "first": recipients[0] if recipients else None,
        "fault": fault,
        "zone": _zone(visit),
        "tones": TONES,
        "may_order": may_order,
        "orders": [(key, text) for key, (_, text, _) in ORDERS.items()],
        "explain": _explain,
    }
    return visit.render("message.html", title="Message", **context)


def _elsewhere(visit: Visit, addresses: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Give the other nodes that have these addresses, whose attempts are not known here: `(address, node)`."""
    with visit.database.read() as session:
        return inventory.elsewhere(session, visit.site.node, addresses)


@page(LOG, roles=EVERYBODY, title="Deliveries", group="Outgoing", order=20)
def deliveries(visit: Visit) -> Response:
    """Show the latest attempts, those from some addresses where they are named: "View deliveries"."""
    addresses = [one for one in visit.asked_all("address") if one]
    names = ("outcome", "domain", "host", "sender_domain", "user")
    asked = {name: visit.asked(name).strip() for name in names}
    wanted: dict[str, Any] = {name: [value] for name, value in asked.items() if value}
    for name in ("domain", "sender_domain"):
        if name in wanted:
            wanted[name] = [_ascii(asked[name]), asked[name]]
    if addresses:
        wanted["address"] = [part for one in addresses for part in one.replace(",", " ").split()]
    context: dict[str, Any] = {"found": None, "fault": "", "gaps": ()}
    try:
        context["found"] = found = _deliveries(visit, wanted, 200)
        context["gaps"] = mail.gaps(found)
    except Refused as error:
        context["fault"] = error.message
    context["elsewhere"] = _elsewhere(visit, wanted.get("address", ()))
    context |= {"others": mail.elsewhere(visit), "query": visit.request.url.query}
    context |= {"asked": asked, "addresses": " ".join(addresses), "outcomes": OUTCOMES, "tones": TONES, "zone": _zone(visit)}
    return visit.render("deliveries.html", title="Deliveries", **context)


def _deliveries(visit: Visit, wanted: Mapping[str, Any], limit: int) -> Any:
    own = mail.own_domains(visit)
    if own is not None:
        wanted = {**wanted, "owner": list(own) or ["\x00"]}
    return mail.ask(visit, "deliveries", {"wanted": wanted, "limit": limit})


def _recipients(visit: Visit, text: str) -> tuple[Sequence[Mapping[str, Any]], str, str]:
    """Give the queued recipients that an id means, why there are none, and the transaction that it may be."""
    try:
        rows: Sequence[Mapping[str, Any]] = mail.ask(visit, "queue.show", {"id": text})["recipients"]
    except mail.Away:
        raise
    except Refused as error:
        return (), error.message, text
    if len(rows) == 1 and text.isdigit():
        rows = mail.ask(visit, "queue.show", {"id": rows[0]["transaction_id"]})["recipients"]
    own = mail.own_domains(visit)
    seen = rows if own is None else [row for row in rows if row["egress"].get("domain") in own]
    if rows and not seen:
        raise NotFound(f"nothing in the queue has the id {text}")
    return list(map(_row, seen)), "", text


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a recipient for a template, which may ask for any of what the choice of delivery IPs goes by."""
    return {**row, "egress": defaultdict(str, row["egress"])}


def _explain(row: Mapping[str, Any], node: str) -> str:
    """Give where the choice of an address for a recipient's sender is explained."""
    sender = {key: row["egress"][key] for key in ("domain", "username", "identity")}
    identity = row["metadata"].get("identity", "") or sender["identity"]
    asked = {"node": node, **sender, "identity": identity}
    return f"/outgoing/delivery-ips/explain?{urlencode({key: value for key, value in asked.items() if value})}"


def _wanted(given: Mapping[str, str]) -> Wanted:
    return Wanted(**{name: given.get(name, "").strip() for name in WANTED})


def _which(visit: Visit) -> Mapping[str, Any]:
    """Give which recipients a form means, as the mail server is told. Raises Refused."""
    ids = [one for one in visit.fields("id") if one]
    if visit.field("all") != "1":
        if not ids:
            raise Refused("choose at least one recipient")
        return {"ids": ids}
    names = {name: visit.field(name) for name in WANTED}
    wanted = _wanted(names)
    chosen = {"filter": wanted.fields, "egress": wanted.egress, "state": wanted.state}
    return {**chosen, "all": not any(chosen.values())}


def _order(visit: Visit) -> Order:
    key = visit.field("do")
    if key not in ORDERS:
        raise Refused("choose an action")
    which = _which(visit)
    if "ids" in which:
        rows = [row for id in which["ids"][:MOST_NAMED] for row in mail.ask(visit, "queue.show", {"id": id})["recipients"]]
        names = [f"{row['sender'] or '<>'} to {row['recipient']}" for row in rows]
        return Order(key, max(len(which["ids"]), len(rows)), names, {"do": key, "id": which["ids"]})
    found = mail.ask(visit, "queue.list", {**which, "limit": MOST_NAMED})
    names = [f"{row['sender'] or '<>'} to {row['recipient']}" for row in found["recipients"]]
    hidden = {"do": key, "all": "1", **{name: visit.field(name) for name in WANTED if visit.field(name)}}
    return Order(key, found["matching"], names, hidden)


def _zone(visit: Visit) -> str:
    with visit.database.read() as session:
        return site.read(session).time_zone


def _ascii(text: str) -> str:
    """Give a domain as the queue compares it: it has names as they were given, in small letters."""
    return text.strip().lower().rstrip(".")
