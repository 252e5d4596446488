"""Outgoing > Manage outgoing delivery IPs: the tabs of the page, and the list of settings. In: visits. Out: pages.

Source: sections B1, B2 and B9 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.pages.listing import Listing
from hslpy.admin.pages.render import moment
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import Role, count
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.addresses.inventory import SILENT_S
from hslpy.egress.delivery_ips import setting_list
from hslpy.egress.delivery_ips.queries import Query
from hslpy.egress.reputation import suspensions
from hslpy.egress.rules.book import LEVEL_NAMES
from hslpy.egress.rules.names import Refused

PATH = "/outgoing/delivery-ips"
TITLE = "Manage outgoing delivery IPs"
BULK = (("edit", "Edit"), ("remove", "Remove"), ("export", "Export as CSV"), ("replace", "Replace IP…"))
Tab = Callable[[Visit], Response]

TABS: dict[str, tuple[str, Tab, Sequence[Role]]] = {}
"""The tabs of the page by the word in its address: title, function, whom it is for. Others add theirs with `tab`."""


def tab(name: str, title: str, roles: Sequence[Role] = EVERYBODY) -> Callable[[Tab], Tab]:
    """Add a tab to the page, for who has one of these roles."""

    def add(handler: Tab) -> Tab:
        TABS[name] = (title, handler, roles)
        return handler

    return add


ORDER = ("settings", "reputation", "lists")


def tabs(visit: Visit, current: str) -> Sequence[tuple[str, str, bool]]:
    """Give the tabs that a visitor may open, as `blocks.html` draws them; the template's `tabs`."""
    names = [name for name in ORDER if name in TABS and visit.principal.role in TABS[name][2]]
    return [(TABS[name][0], f"{PATH}?tab={name}", name == current) for name in names]


@page(PATH, roles=EVERYBODY, title=TITLE, group="Outgoing", order=10)
def show(visit: Visit) -> Response:
    name = visit.asked("tab", ORDER[0])
    if name not in TABS:
        raise Refused(f"there is no tab '{name}'", 404)
    _, handler, roles = TABS[name]
    visit.principal.require(*roles)
    return handler(visit)


@tab("settings", "Delivery IPs")
def settings_tab(visit: Visit) -> Response:
    with visit.database.read() as session:
        fields = setting_list.fields(session, visit.now)
    listing = Listing(
        visit,
        "delivery-ips",
        PATH,
        fields,
        setting_list.COLUMNS,
        setting_list.SHOWN,
        sortable=setting_list.SORTABLE,
        fixed={"tab": "settings"},
    )
    if listing.redirect:
        return visit.redirect(listing.redirect)
    rows: Sequence[setting_list.Listed] = ()
    if listing.is_shown:
        try:
            found = setting_list.list_page(visit.database, listing.query, visit.now, admins=visit.principal.admins)
            listing.found(found.total, found.page, found.pages)
            rows = found.rows
        except Refused as error:
            listing.refused(error)
    may_change = visit.principal.role == "super-admin"
    facts = Facts(visit)
    context: Mapping[str, object] = {
        "listing": listing,
        "rows": rows,
        "tabs": tabs(visit, "settings"),
        "facts": facts,
        "may_change": may_change,
        "actions": BULK if may_change else (),
        "menu": lambda row: menu(row, may_change),
        "clear": listing.url(Query(), show=True),
        "nothing_configured": not listing.query.rules and bool(rows) and all(one.is_unset for one in rows),
        "silent": facts.silent(),
    }
    return visit.render("delivery_ips.html", title=TITLE, **context)


class Facts:
    """What the cells show of nodes and their addresses beside the settings."""

    levels = LEVEL_NAMES

    def __init__(self, visit: Visit) -> None:
        with visit.database.read() as session:
            self.zone = site.read(session).time_zone
            self._once = setting_list.once_seen(session)
        found = suspensions.suspensions(visit.database, visit.now)
        self._suspended = {(one.address, one.node): one.reason for one in found}
        self._role, self._back = visit.principal.role, f"{visit.path}?{visit.request.url.query}"
        self._now = visit.now
        self._nodes = {one.name: one for one in list_nodes(visit.database)}
        self._revision = visit.database.revision()

    def absence(self, hostname: str, address: str) -> str:
        """Say how it is that a node does not have an address that is set; empty where it has, or has never reported."""
        node = self._nodes.get(hostname)
        if node is None or node.reported_at is None or address in ("0.0.0.0", "::", "::0"):
            return ""
        if address in (*node.addresses, node.primary_ipv4, node.primary_ipv6):
            return ""
        return "no longer on this server" if (hostname, address) in self._once else "not on this server yet"

    def suspension(self, hostname: str, address: str) -> str:
        """Say why an address is not used on a node now; empty where it is."""
        return self._suspended.get((address, hostname)) or self._suspended.get((address, ""), "")

    def way_back(self, address: str) -> str:
        """Give where a suspended address is used again, or shown to those who only read; empty for others."""
        if self._role == "super-admin":
            return f"{PATH}/suspension?{urlencode({'address': address, 'to': self._back})}"
        return f"{PATH}?{urlencode({'tab': 'reputation', 'select': address})}" if self._role == "read-only" else ""

    def lock(self, hostname: str) -> str:
        """Say why a node delivers nothing; empty for one that is not locked."""
        node = self._nodes.get(hostname)
        return ("locked" + (f": {node.locked_reason}" if node.locked_reason else "")) if node and node.locked else ""

    @property
    def applied(self) -> str:
        """Say how many nodes go by the settings as they are now. Source: A1, replication."""
        have = sum(one.revision >= self._revision for one in self._nodes.values())
        return f"applied on {have} of {count(len(self._nodes), 'node')}"

    def silence(self, hostname: str) -> str:
        """Say since when a node has not reported; empty for one that does, or never did."""
        node = self._nodes.get(hostname)
        if node is None or node.reported_at is None or self._now - node.reported_at < SILENT_S:
            return ""
        since = moment(node.reported_at, self.zone)
        if self._now - node.reported_at < 86400:
            since = since[-5:]
        return f"server not reachable since {since}; shown values are the last known"

    def silent(self) -> Sequence[str]:
        """Give a line for each node that has never reported."""
        names = [one.name for one in self._nodes.values() if one.reported_at is None]
        return [f"{name}: This server has not reported its addresses yet." for name in names]


def menu(row: setting_list.Listed, may_change: bool) -> Sequence[Mapping[str, str]]:
    """Give the entries of a row's menu."""
    here = f"{PATH}/{row.id}"
    scope = {"node": row.hostname, "domain": row.domain, "username": row.username, "identity": row.identity}
    explain = {"text": "Explain", "href": f"{PATH}/explain?{urlencode({k: v for k, v in scope.items() if v})}"}
    chosen = [one for one in (*row.ipv4, *row.ipv6) if one not in ("0.0.0.0", "::", "::0")]
    deliveries = {"text": "View deliveries", "href": "/outgoing/log?" + urlencode({"address": chosen}, doseq=True)}
    if not may_change:
        return [deliveries, explain]
    return [
        {"text": "Edit", "href": f"{here}/edit"},
        {
            "text": "Revert to primary" if row.level == "default" else "Remove",
            "href": f"{PATH}/remove?{urlencode({'id': row.id})}",
            "dialog": "1",
            "danger": "1",
        },
        {"text": "Check now", "post": f"{here}/check"},
        {"text": "Check reputation", "href": f"{PATH}?" + urlencode({"tab": "reputation", "select": chosen}, doseq=True)},
        {"text": "Warm-up…", "href": f"{PATH}/warm-up?" + urlencode({"address": chosen}, doseq=True), "dialog": "1"},
        deliveries,
        explain,
    ]
