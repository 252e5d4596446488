"""Results of addresses on block lists: kept, and shown. In: findings. Out: rows, alerts.

Results are no settings: they leave no row in `audit` and the revision stays. Must not know how lists are asked. Source:
sections B5 and E of the specification of delivery IPs.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.reputation.block_lists import past_of, shown_zone
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.csv_text import write_csv
from hslpy.egress.rules.dnsbl import COUNTING, WORDS, Finding, family_of, is_reserved, keep_s, links_of, query_name
from hslpy.egress.rules.names import fault_of_source
from hslpy.egress.store.database import Database
from hslpy.egress.store.tables import Address, DeliverySetting, Dnsbl, Listing, Node, PastListing, Reverse
from hslpy.records import record

_LONGEST_DETAIL = 255


@record
class OwnAddress:
    """A delivery IP with the nodes that have it. Lists are asked for `asked`: what it is translated to, else itself."""

    address: str
    asked: str
    nodes: tuple[str, ...]
    used: bool
    ptr: str = ""

    @property
    def family(self) -> int:
        return family_of(self.address)


@record
class Cell:
    """One address on one list, as it is shown; the query name has `KEY` for a key. Times are None without a result."""

    status: str
    word: str
    severity: str = "none"
    codes: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    detail: str = ""
    query_name: str = ""
    resolver: str = ""
    ttl_s: int = 0
    checked_at: float | None = None
    expires_at: float | None = None
    since: float | None = None
    listed_since: float | None = None
    removal_url: str = ""


@record
class Row:
    """An address with its cells by the lists' ids; `summary` counts them: `2 listed, 14 clean, 1 unknown`."""

    address: OwnAddress
    cells: Mapping[int, Cell]
    summary: str
    worst: Literal["listed", "informational", "unknown", "clean", "not checked"]


@record
class Checked:
    """A finding to keep, of `at` (Unix seconds)."""

    asked: str
    list_id: int
    finding: Finding
    at: float


@record
class Alert:
    """A listing that began or ended, of those that count."""

    kind: Literal["listed", "cleared"]
    address: str
    nodes: tuple[str, ...]
    list_id: int
    list_name: str
    zone: str
    severity: str
    codes: tuple[str, ...]
    meanings: tuple[str, ...]
    reasons: tuple[str, ...]
    removal_url: str
    at: float

    @property
    def text(self) -> str:
        if self.kind == "cleared":
            return f"{self.address} is no longer listed by {self.list_name}."
        meanings = ", ".join(dict.fromkeys(filter(None, self.meanings)))
        return f"{self.address} is listed by {self.list_name}{f' ({meanings})' if meanings else ''}."


def own_addresses(session: Session) -> list[OwnAddress]:
    """Give the addresses that nodes have and mail may leave from, and those that are set though no node has them."""
    nodes_here = session.scalars(select(Node)).all()
    names = {node.id: node.name for node in nodes_here}
    found: dict[tuple[str, str], set[str]] = {}
    known: set[tuple[str, int]] = set()
    used: set[tuple[str, int]] = set()
    for node_id, ipv4, ipv6 in session.execute(select(DeliverySetting.node_id, DeliverySetting.ipv4, DeliverySetting.ipv6)):
        used.update((address, node_id) for address in (*ipv4, *ipv6) if address not in PRIMARY.values())
    for row in session.scalars(select(Address)):
        where = (row.address, row.node_id)
        if where in used or (row.present and fault_of_source(row.address) is None):
            known.add(where)
            found.setdefault((row.address, row.public_address or row.address), set()).add(names[row.node_id])
    for address, node_id in used - known:
        found.setdefault((address, address), set()).add(names[node_id])
    used_names = {(address, names[node_id]) for address, node_id in used}
    used_names |= {(one, node.name) for node in nodes_here for one in (node.primary_ipv4, node.primary_ipv6)}
    reverses = {one.address: one for one in session.scalars(select(Reverse))}
    result = []
    for (address, asked), nodes in found.items():
        reverse = reverses.get(asked) or reverses.get(address)
        ptr = (reverse.confirmed or next(iter(reverse.names), "")) if reverse is not None else ""
        is_used = any((address, node) in used_names for node in nodes)
        result.append(OwnAddress(address, asked, tuple(sorted(nodes)), is_used, ptr))
    return sorted(result, key=lambda one: (one.family, int(ipaddress.ip_address(one.address)), one.asked))


def rows(session: Session, addresses: Iterable[OwnAddress] | None = None) -> list[Row]:
    """Give the matrix: all delivery IPs, or those, on the lists that are enabled."""
    chosen = list(addresses) if addresses is not None else own_addresses(session)
    lists = list(session.scalars(select(Dnsbl).where(Dnsbl.enabled.is_(True), Dnsbl.hidden.is_(False))))
    known = {(one.address, one.dnsbl_id): one for one in session.scalars(select(Listing))}
    result = []
    for own in chosen:
        cells = {row.id: cell(own, row, known.get((own.asked, row.id))) for row in lists}
        result.append(Row(own, cells, *_summary(cells.values())))
    return result


def _summary(cells: Collection[Cell]) -> tuple[str, Literal["listed", "informational", "unknown", "clean", "not checked"]]:
    count: Counter[str] = Counter()
    for one in cells:
        count[counted(one.status, one.severity)] += 1
    order: Sequence[Any] = ("listed", "informational", "clean", "unknown", "not checked")
    worst: Any = next((name for name in ("listed", "informational", "unknown", "clean") if count[name]), "not checked")
    return ", ".join(f"{count[name]} {name}" for name in order if count[name]) or "not checked", worst


def counted(status: str, severity: str) -> str:
    """Give what a result counts as in a summary; empty where it doesn't count."""
    if status == "listed":
        return "listed" if severity in COUNTING else "informational"
    if status in ("clean", "not checked"):
        return status
    return "" if status in ("not applicable", "private") else "unknown"


def cell(own: OwnAddress, row: Dnsbl, listing: Listing | None) -> Cell:
    """Give the latest result of an address on a list."""
    if is_reserved(own.asked):
        return Cell("private", WORDS["private"], detail="enter the public address it is translated to")
    if not applies(row.families, row.tried_families, row.tests, family_of(own.asked)):
        return Cell("not applicable", WORDS["not applicable"], detail=f"the list has no IPv{family_of(own.asked)}")
    name = query_name(own.asked, shown_zone(row.zone, row.key))
    if listing is None:
        return Cell("not checked", "Not checked", query_name=name, removal_url=row.removal_url)
    finding = finding_of(listing)
    return Cell(
        finding.status, finding.word, finding.severity, finding.codes, finding.meanings, finding.reasons,
        tuple(link for reason in finding.reasons for link in links_of(reason)), finding.detail, name, finding.resolver,
        listing.ttl_s, listing.checked_at, listing.expires_at, listing.since, listing.listed_since, row.removal_url,
    )  # fmt: skip


def applies(families: Collection[int], tried: Collection[int], tests: Mapping[str, str], family: int) -> bool:
    """Say whether a list is asked for addresses of a family: a tried one only once its test entry has answered."""
    return family in families or (family in tried and tests.get(str(family)) == "working")


def finding_of(listing: Listing) -> Finding:
    return Finding(
        listing.status, listing.severity, tuple(listing.codes), tuple(listing.meanings), listing.detail,  # type: ignore[arg-type]
        listing.ttl_s, tuple(listing.reasons), listing.resolver,
    )  # fmt: skip


def keep(database: Database, checked: Collection[Checked]) -> list[Alert]:
    """Keep findings and give what changed of listings that count. Those of lists that were removed meanwhile are dropped."""
    if not checked:
        return []
    with database.keep() as session:
        lists = {row.id: row for row in session.scalars(select(Dnsbl).where(Dnsbl.id.in_({one.list_id for one in checked})))}
        wanted = {one.asked for one in checked}
        known = {
            (one.address, one.dnsbl_id): one
            for one in session.scalars(select(Listing).where(Listing.dnsbl_id.in_(lists)))
            if one.address in wanted
        }
        owners = _owners(session)
        alerts: list[Alert] = []
        for one in checked:
            row = lists.get(one.list_id)
            if row is None or row.hidden:
                continue
            listing = known.get((one.asked, one.list_id))
            if listing is None:
                listing = known[one.asked, one.list_id] = Listing(
                    address=one.asked, dnsbl_id=row.id, status="", since=one.at, listed_codes=[], listed_severity="none"
                )
                session.add(listing)
            past = past_of(listing, row, one.at) if listing.listed_since is not None else None
            before = listing.listed_severity
            codes = tuple(listing.listed_codes)
            _write(listing, one)
            if past is not None and listing.listed_since is None:
                session.add(past)
            counted, counts = before in COUNTING, listing.listed_severity in COUNTING
            if counted != counts:
                finding = one.finding
                alerts.append(
                    Alert(
                        "listed" if counts else "cleared", one.asked, owners.get(one.asked, ()), row.id, row.name,
                        shown_zone(row.zone, row.key), finding.severity if counts else before,
                        finding.codes if counts else codes, finding.meanings, finding.reasons, row.removal_url, one.at,
                    )
                )  # fmt: skip
        return alerts


def _owners(session: Session) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for own in own_addresses(session):
        found[own.asked] = tuple(sorted({*found.get(own.asked, ()), *own.nodes}))
    return found


def _write(listing: Listing, checked: Checked) -> None:
    """Write a finding over the one before. Being listed ends with a clean answer; others say nothing of it."""
    finding = checked.finding
    if listing.status != finding.status:
        listing.since = checked.at
    listing.status, listing.severity, listing.codes = finding.status, finding.severity, list(finding.codes)
    listing.meanings, listing.reasons = list(finding.meanings), list(finding.reasons)
    listing.detail, listing.resolver, listing.ttl_s = finding.detail[:_LONGEST_DETAIL], finding.resolver, int(finding.ttl_s)
    listing.checked_at, listing.expires_at = checked.at, checked.at + keep_s(finding)
    if finding.status == "listed":
        listing.listed_since = listing.listed_since if listing.listed_since is not None else checked.at
        listing.listed_at, listing.listed_codes = checked.at, list(finding.codes)
        listing.listed_severity = finding.severity
    elif finding.status == "clean":
        listing.listed_since, listing.listed_at, listing.listed_codes, listing.listed_severity = None, None, [], "none"


def history(session: Session, asked: str) -> list[PastListing]:
    """Give the listings of an address that are over, the latest first."""
    return list(session.scalars(select(PastListing).where(PastListing.address == asked).order_by(PastListing.to_at.desc())))


def export_csv(session: Session, *, only_listed: bool = False, addresses: Collection[str] | None = None) -> str:
    """Give the results as a file, one row a cell that was checked; those of all addresses where none are named."""
    names = {row.id: (row.name, row.zone) for row in session.scalars(select(Dnsbl))}
    out: list[Sequence[object]] = [_COLUMNS]
    for row in rows(session):
        if addresses is not None and row.address.address not in addresses:
            continue
        for list_id, one in row.cells.items():
            if one.checked_at is None or (only_listed and one.status != "listed"):
                continue
            out.append(
                (
                    row.address.address, row.address.asked, " ".join(row.address.nodes), row.address.ptr, *names[list_id],
                    one.word, one.severity, " ".join(one.codes), "; ".join(filter(None, one.meanings)),
                    "; ".join(one.reasons),
                    _time(one.checked_at), _time(one.listed_since),
                )
            )  # fmt: skip
    return write_csv(out)


_COLUMNS = (
    "address", "public_address", "hostname", "ptr", "rbl_name", "rbl_hostname", "status", "severity", "codes", "meanings",
    "reasons", "checked_at", "listed_since",
)  # fmt: skip


def _time(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at is not None else ""
