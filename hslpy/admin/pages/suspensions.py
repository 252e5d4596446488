"""Taking an address out of use for a while, and using it again. In: visits. Out: pages, dialogs with the script."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi.responses import Response

from hslpy.admin.pages import simple
from hslpy.admin.pages.delivery_ips import PATH as IPS
from hslpy.admin.pages.render import moment
from hslpy.admin.pages.simple import Form, Input, again
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.reputation import suspensions
from hslpy.egress.reputation.suspensions import Suspended
from hslpy.egress.rules.names import Refused, about, canonical_address

PATH = f"{IPS}/suspension"
TAB = f"{IPS}?tab=reputation&show=1"


@page(PATH)
def ask(visit: Visit) -> Response:
    """Ask whether an address is to be used again, or for how long it is not to be."""
    address = canonical_address(visit.asked("address"))
    back = visit.asked("to", TAB)
    found = suspensions.suspensions(visit.database, visit.now, address)
    return simple.show(visit, _question(visit, address, found, back) if found else _form(visit, address, back))


@page(f"{PATH}/lift", methods=("POST",))
def lift(visit: Visit) -> Response:
    done = suspensions.lift(visit.database, visit.actor, visit.field("address"))
    visit.banner(done.text)
    return visit.redirect(visit.field("to", TAB))


@page(f"{PATH}/suspend", methods=("POST",))
def suspend(visit: Visit) -> Response:
    address, back = canonical_address(visit.field("address")), visit.field("to", TAB)
    try:
        hours = _hours(visit.field("hours"))
        node, reason = visit.field("node"), visit.field("reason")
        suspensions.suspend(visit.database, visit.actor, address, node=node, hours=hours, reason=reason)
    except Refused as error:
        return again(visit, _form(visit, address, back), error, "hours")
    visit.banner(
        f"Nothing is sent from {address} " + (f"for {hours:g} hours." if hours else "until it is used again."), "warning"
    )
    return visit.redirect(back)


def _hours(text: str) -> float | None:
    if not text.strip():
        return None
    with about("hours"):
        try:
            return float(text)
        except ValueError:
            raise Refused("write a number of hours, such as 24") from None


def _question(visit: Visit, address: str, found: Sequence[Suspended], back: str) -> Form:
    with visit.database.read() as session:
        zone = site.read(session).time_zone
    items = []
    for one in found:
        end = f", until {moment(one.until, zone)}" if one.until is not None else ""
        items.append(f"Suspended on {one.node or 'all servers'}{end}: {one.reason}. {one.if_lifted}".strip())
    text = "Mail leaves from it again within a second."
    return Form(
        f"Use {address} again?", f"{PATH}/lift", "Use again", back, text=text, items=items, hidden={"address": address}
    )


def _form(visit: Visit, address: str, back: str) -> Form:
    places = suspensions.places(visit.database, address)
    nodes = [("", "all servers that have it"), *((one, one) for one in places)]
    inputs = [
        Input("hours", "Hours", hint="Empty: until somebody uses it again."),
        Input("reason", "Reason", hint="Shown beside the address, and where mail is explained."),
        *([Input("node", "On", "select", "", nodes)] if len(places) > 1 else []),
    ]
    text = (
        "Mail leaves from the other addresses of its settings meanwhile; where there are none, from those of the next more "
        "general setting."
    )
    return Form(f"Suspend {address}", f"{PATH}/suspend", "Suspend", back, inputs, text, hidden={"address": address})
