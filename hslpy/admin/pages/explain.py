"""Why mail leaves from where, and what HELO it says: pages about one choice. In: visits. Out: pages. Nothing is changed
by explaining. Source: B2.7, B3 point 6 and B8 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi.responses import Response

from hslpy.admin.pages.delivery_ips import PATH
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.addresses import helos
from hslpy.egress.delivery_ips.explain import Explanation, explain
from hslpy.egress.rules.book import LEVEL_NAMES
from hslpy.egress.rules.names import Refused, about
from hslpy.egress.traffic.picture import read

FIELDS = ("node", "domain", "username", "identity", "family")


@page(f"{PATH}/explain", roles=EVERYBODY)
def show(visit: Visit) -> Response:
    """Show the ladder of levels for a sender, with the one that decides."""
    asked = {name: visit.asked(name).strip() for name in FIELDS}
    asked["family"] = asked["family"] or "4"
    domains = directory.list_domains(visit.database, admins=visit.principal.admins)
    errors: dict[str, str] = {}
    found: Explanation | None = None
    if asked["node"]:
        names = {one.name for one in domains} | {alias for one in domains for alias in one.aliases}
        try:
            if visit.principal.admins is not None and asked["domain"].lower().removesuffix(".") not in names:
                with about("domain"):
                    raise Refused("choose one of your domains")
            found = _explain(visit, asked)
        except Refused as error:
            errors[error.field or "node"] = f"{error.message[:1].upper()}{error.message[1:]}."
    return visit.render(
        "explain.html",
        400 if errors else 200,
        title="Explain",
        asked=asked,
        errors=errors,
        found=found,
        nodes=[one.name for one in list_nodes(visit.database)],
        domains=[one.name for one in domains],
        levels=LEVEL_NAMES,
        outcome=_outcome(found) if found is not None else "",
    )


def _explain(visit: Visit, asked: dict[str, str]) -> Explanation:
    with visit.database.read() as session:
        picture = read(session)
    return explain(
        visit.database,
        picture,
        node=asked["node"],
        family=int(asked["family"]) if asked["family"] in ("4", "6") else 0,
        now=visit.now,
        domain=asked["domain"],
        username=asked["username"],
        identity=asked["identity"],
    )


def _outcome(found: Explanation) -> str:
    family = f"IPv{found.family}"
    if found.kind == "disabled":
        return f"Nothing is sent over {family}: it is switched off for this sender."
    if found.address:
        return f"Mail leaves {found.node} from {found.address}."
    if found.kind == "hold":
        return "Mail waits: no address may be used now."
    return f"Mail leaves {found.node} from any of its {family} addresses."


@page(f"{PATH}/help", roles=EVERYBODY)
def help_drawer(visit: Visit) -> Response:
    return visit.render("address_help.html", title="Adding addresses to a server")


@page(f"{PATH}/helo")
def show_helo(visit: Visit) -> Response:
    return _helo(visit, visit.asked("address"))


@page(f"{PATH}/helo", methods=("POST",))
async def set_helo(visit: Visit) -> Response:
    """Set the HELO name of an address, as the call api_set_outgoing_ehlo does."""
    address, helo = visit.field("address"), visit.field("helo").strip()
    if visit.is_resumed:
        return await asyncio.to_thread(_helo, visit, address, helo)
    resolver = visit.site.resolver

    def work(seen: helos.Seen | None) -> Sequence[str]:
        with visit.database.change(visit.actor, "ip ehlo", {"ip": address, "ehlo": helo}) as change:
            warnings = helos.set_helo(change, address, helo, seen=seen)
            change.result = "\n".join(warnings)
            return warnings

    try:
        seen = await helos.look_before(resolver, address, helo) if resolver is not None else None
        warnings = await asyncio.to_thread(work, seen)
    except Refused as error:
        return await asyncio.to_thread(_helo, visit, address, helo, error.message)
    said = f"The HELO of {address} is {helo}." if helo else f"The HELO of {address} is its reverse DNS name again."
    visit.banner(said, "warning" if warnings else "ok", warnings)
    return visit.redirect(visit.field("to", PATH))


def _helo(visit: Visit, address: str, helo: str | None = None, error: str = "") -> Response:
    with visit.database.read() as session:
        known = helos.get_helo(session, address, visit.now)
    if helo is None:
        helo = known.helo if known.origin == "set" else ""
    context = {"address": known.address, "known": known, "helo": helo, "errors": {"helo": error} if error else {}}
    return visit.render("helo.html", 400 if error else 200, title="HELO name", **context)
