"""The block lists of this site: added, changed, switched on and off, removed, imported. In: what operators write. Out: rows.

A list that comes with hslpy is hidden instead of removed, so that it can be had back. Keys leave this module only in the
zone that is asked. Source: sections B6, B7 and E of the specification of delivery IPs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hslpy.egress.reputation import dnsbl_lists
from hslpy.egress.reputation.dnsbl_lists import BY_ZONE, DEFAULTS, Known
from hslpy.egress.rules.csv_text import MOST_ROWS, read_csv, write_csv
from hslpy.egress.rules.dnsbl import KEY, KINDS, LIST_WORDS, MASK, Code, Kind, Meaning, read_codes
from hslpy.egress.rules.names import NotFound, Refused, about, canonical_address, domain_name
from hslpy.egress.store import undoing
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.egress.store.tables import Dnsbl, Domain, Listing, Node, PastListing
from hslpy.records import record

HEADER = ("rbl_hostname", "rbl_name")
_LONGEST_NAME = 64
_LONGEST_ZONE = 253 - 64  # an IPv6 address takes 64 characters before it
_KEYED = re.compile(r"([a-z0-9]{6,63})\.((?:[a-z-]+\.)?dq\.spamhaus\.net|(?:[a-z-]+\.)?mail\.abusix\.zone)\Z")
_KEY = re.compile(r"[A-Za-z0-9-]{1,63}\Z")

UNDO = "lists"
"""The kind of changes that `undo` takes back."""


@record
class BlockList:
    """A list as it is shown; `key` is a mask where there is one."""

    id: int
    name: str
    zone: str
    enabled: bool
    families: tuple[int, ...]
    tried_families: tuple[int, ...]
    codes: tuple[Code, ...]
    kind: str
    key: str
    needs_key: bool
    removal_url: str
    is_builtin: bool
    hidden: bool
    note: str
    limits: str
    status: str
    word: str
    status_detail: str
    tests: Mapping[str, str]
    tested_at: float | None
    refused_until: float | None


@record
class Outcome:
    """What became of one of several lists."""

    id: int
    name: str
    done: bool
    message: str = ""


@record
class Draft:
    """A list to be added, checked. `retired` says what became of it, where that is known."""

    name: str
    zone: str
    families: tuple[int, ...] = (4,)
    tried: tuple[int, ...] = ()
    meaning: Meaning = Meaning()
    key: str = ""
    removal_url: str = ""
    retired: str = ""

    @property
    def warning(self) -> str:
        return f"{self.retired}. It will be saved disabled." if self.retired else ""


@record
class ImportRow:
    """A row of a file, by its line, and what it comes to; `reason` is for people."""

    line: int
    zone: str
    name: str
    outcome: Literal["new", "already present", "renamed", "invalid"]
    reason: str = ""


@record
class Import:
    """What a file comes to; `text` counts it, as it was done or would be."""

    rows: tuple[ImportRow, ...]

    @property
    def text(self) -> str:
        count = {outcome: [row for row in self.rows if row.outcome == outcome] for outcome in _OUTCOMES}
        parts = [f"{len(count['new'])} added"]
        if count["renamed"]:
            parts.append(f"{len(count['renamed'])} renamed")
        if count["already present"]:
            parts.append(f"{len(count['already present'])} skipped (already present)")
        if count["invalid"]:
            lines = ", ".join(str(row.line) for row in count["invalid"])
            several = len(count["invalid"]) > 1
            parts.append(f"{len(count['invalid'])} error{'s' if several else ''} (line{'s' if several else ''} {lines})")
        return ", ".join(parts)


_OUTCOMES = ("new", "already present", "renamed", "invalid")


def populate(database: Database) -> int:
    """Add the lists that come with hslpy and are not there, hidden or not; give how many."""
    with database.read() as session:
        missing = [known for known in DEFAULTS if known.zone not in set(session.scalars(select(Dnsbl.zone)))]
    if not missing:
        return 0
    with database.change(Actor("hslpy"), "dnsbl populate") as change:
        there = set(change.scalars(select(Dnsbl.zone)))
        added = [known for known in missing if known.zone not in there]
        for known in added:
            change.add(_row_of(change, known))
        change.note(added=[known.zone for known in added])
        return len(added)


def lists(session: Session, *, hidden: bool = False) -> list[BlockList]:
    """Give the lists by name."""
    rows = session.scalars(select(Dnsbl) if hidden else select(Dnsbl).where(Dnsbl.hidden.is_(False)))
    return sorted(map(shown, rows), key=lambda one: one.name.casefold())


def shown(row: Dnsbl) -> BlockList:
    known = BY_ZONE.get(row.zone)
    return BlockList(
        row.id, row.name, row.zone, row.enabled, tuple(row.families), tuple(row.tried_families), meaning_of(row).codes,
        row.kind, MASK if row.key else "", KEY in row.zone.split("."), row.removal_url, row.is_builtin, row.hidden, row.note,
        known.limits if known is not None else "", row.status, LIST_WORDS.get(row.status, row.status),  # type: ignore[call-overload]
        row.status_detail, dict(row.tests), row.tested_at, row.refused_until,
    )  # fmt: skip


def meaning_of(row: Dnsbl) -> Meaning:
    codes = tuple(Code(matches, one["meaning"], one["severity"]) for matches, one in row.codes.items())
    return Meaning(row.kind, codes, row.loopback_is_listed, row.critical)  # type: ignore[arg-type]


def asked_zone(zone: str, key: str) -> str:
    """Give the zone to ask, with the key in it: a secret. A list may have another zone for those who have a key."""
    if not key:
        return zone
    known = BY_ZONE.get(zone)
    keyed = known.keyed_zone if known is not None and known.keyed_zone else zone
    return ".".join(key if label == KEY else label for label in keyed.split("."))


def shown_zone(zone: str, key: str) -> str:
    """Give the zone that is asked as people may see it."""
    return asked_zone(zone, KEY) if key else zone


def zone_of(text: str) -> tuple[str, str]:
    """Give the zone that an operator wrote or pasted, and the key that stood in it. Raises Refused."""
    text = text.strip()
    written = text
    if "://" in text or "/" in text:
        try:
            text = urlsplit(text if "://" in text else f"//{text}").hostname or ""
        except ValueError:
            text = ""
    text = text.strip(". ")
    try:
        canonical_address(text.strip("[]"))
    except Refused:
        pass
    else:
        raise Refused(f"'{written}' is an IP address, not the domain of a list")
    try:
        zone = domain_name(text)
    except Refused:
        raise Refused(f"'{written}' is not a domain name") from None
    key = ""
    if (found := _KEYED.match(zone)) is not None and found[1] not in ("key", "combined", "zen"):
        key, zone = found[1], f"{KEY}.{found[2]}"
    zone = ".".join(KEY if label == "key" else label for label in zone.split("."))
    if len(zone) > _LONGEST_ZONE:
        raise Refused(f"'{written}' is too long for the domain of a list")
    return zone, key


def draft(
    session: Session,
    name: str,
    domain: str,
    *,
    families: Iterable[int] | None = None,
    codes: str = "",
    kind: str = "",
    key: str = "",
    removal_url: str = "",
) -> Draft:
    """Give a list that may be added. Raises Refused: for text that cannot be, one that is there, one of our own zones."""
    with about("name"):
        name = _checked_name(session, name, None)
    with about("domain"):
        zone, found_key = zone_of(domain)
        present = session.scalars(select(Dnsbl).where(Dnsbl.zone == zone)).one_or_none()
        if present is not None and not present.hidden:
            raise Refused(f"'{zone}' is already present: {present.name}", 409)
        _check_zone(session, zone)
    known = BY_ZONE.get(zone) or next((one for one in DEFAULTS if one.keyed_zone == zone), None) or Known("", zone)
    own = known.meaning
    with about("families"):
        asked = _checked_families(families) if families is not None else known.families
    with about("codes"):
        meaning = Meaning(
            _checked_kind(kind or own.kind), read_codes(codes) or own.codes, own.loopback_is_listed, own.critical
        )
    with about("key"):
        key = _checked_key(key) or found_key
    with about("removal_url"):
        url = _checked_url(removal_url) or known.url
    tried = known.tried if families is None else ()
    return Draft(name, zone, asked, tried, meaning, key, url, dnsbl_lists.retired(zone) or "")


def add(database: Database, actor: Actor, wanted: Draft, *, enabled: bool = True) -> BlockList:
    """Add a list, disabled where it is retired or wants a key that is not there. Raises Refused."""
    with database.change(actor, "dnsbl add", {"name": wanted.name, "zone": wanted.zone}) as change:
        row = _add(change, wanted, enabled)
        change.result = f"added {row.name}"
        change.flush()
        return shown(row)


def edit(database: Database, actor: Actor, list_id: int, changes: Mapping[str, Any]) -> BlockList:
    """Change `name`, `domain`, `families`, `codes`, `kind`, `key` or `removal_url`. A key that is the mask stays as it is.

    What a list is asked, or how, makes it one that was not tested. Raises Refused, NotFound.
    """
    unknown = changes.keys() - {"name", "domain", "families", "codes", "kind", "key", "removal_url"}
    if unknown:
        raise Refused(f"a list has no '{sorted(unknown)[0]}'")
    told = {name: MASK if name == "key" and value else value for name, value in changes.items()}
    if "domain" in told:
        told["domain"] = zone_of(str(told["domain"]))[0]
    with database.change(actor, "dnsbl edit", {"id": list_id, **told}) as change:
        row = _row(change, list_id)
        asked = (row.zone, row.key, row.families, row.codes)
        for field, value in changes.items():
            with about(field):
                _set(change, row, field, value)
        if (row.zone, row.key, row.families, row.codes) != asked:
            _untested(row)
            change.execute(update(Listing).where(Listing.dnsbl_id == row.id).values(expires_at=0.0))
        return shown(row)


def _set(change: Change, row: Dnsbl, field: str, value: Any) -> None:
    if field == "name":
        row.name = _checked_name(change, value, row.id)
    elif field == "domain":
        _move(change, row, str(value))
    elif field == "families":
        families = list(_checked_families(value))
        if families != row.families:
            row.families, row.tried_families = families, []
    elif field == "codes":
        row.codes = _kept(read_codes(value))
    elif field == "kind":
        row.kind = _checked_kind(value)
    elif field == "removal_url":
        row.removal_url = _checked_url(value)
    elif field == "key" and value != MASK:
        row.key = _checked_key(value)
        row.enabled = row.enabled and (bool(row.key) or KEY not in row.zone.split("."))


def set_enabled(database: Database, actor: Actor, ids: Iterable[int], enabled: bool) -> tuple[list[Outcome], str]:
    """Switch lists on or off, as many of them as can be; give what became of each, and the ticket that takes it back."""
    ids = list(ids)
    with database.change(actor, "dnsbl enable" if enabled else "dnsbl disable", {"ids": ids}) as change:
        switched: list[int] = []
        outcomes = [_each(change, list_id, lambda row: _switch(row, enabled, switched)) for list_id in ids]
        return outcomes, undoing.keep(change, UNDO, {"ids": switched, "enabled": enabled}) if switched else ""


def undo(database: Database, actor: Actor, ticket: str) -> tuple[list[Outcome], bool]:
    """Switch lists back that a change of the actor's own has switched; give whether they are on now. Raises NotFound."""
    with database.change(actor, "dnsbl undo") as change:
        before = undoing.take(change, UNDO, ticket)
        enabled = not before["enabled"]
        return [_each(change, list_id, lambda row: _switch(row, enabled, [])) for list_id in before["ids"]], enabled


def remove(database: Database, actor: Actor, ids: Iterable[int]) -> list[Outcome]:
    """Remove lists, as many of them as there are; one that comes with hslpy can be had back. Their past results are kept."""
    ids = list(ids)
    with database.change(actor, "dnsbl remove", {"ids": ids}) as change:
        return [_each(change, list_id, lambda row: _remove(change, row)) for list_id in ids]


def restore_defaults(database: Database, actor: Actor) -> int:
    """Bring back the lists that come with hslpy and were removed, as they came; give how many."""
    populate(database)
    with database.change(actor, "dnsbl restore") as change:
        rows = list(change.scalars(select(Dnsbl).where(Dnsbl.hidden.is_(True))))
        for row in rows:
            known = BY_ZONE.get(row.zone)
            if known is not None:
                _fill(change, row, known)
            row.hidden = False
            _untested(row)
        change.note(restored=[row.zone for row in rows])
        return len(rows)


def import_csv(database: Database, actor: Actor, data: bytes, *, preview: bool = False) -> Import:
    """Add and rename lists by a file, or say what that would come to. Raises Refused for a file that cannot be read.

    A first row whose first cell is no host name with a dot is a header. Bullets before a host name are passed over.
    """
    rows = [(line, [_BULLET.sub("", cells[0]).strip(), *cells[1:]]) for line, cells in read_csv(data)]
    if rows and not _is_zone(rows[0][1][0]):
        rows = rows[1:]
    if len(rows) > MOST_ROWS:
        raise Refused(f"the file has more than {MOST_ROWS} rows", 413)
    if preview:
        with database.read() as session:
            found = Import(tuple(_import_row(session, line, cells) for line, cells in rows))
            session.rollback()
            return found
    with database.change(actor, "dnsbl import") as change:
        found = Import(tuple(_import_row(change, line, cells) for line, cells in rows))
        change.result = found.text
        return found


_BULLET = re.compile(r"^[\s:–—-]+")  # no host name begins so; as lists copied out of documents do


def export_csv(session: Session, ids: Iterable[int] | None = None) -> str:
    """Give the lists, or those of them, as a file that `import_csv` reads; keys are not in it."""
    wanted = set(ids) if ids is not None else None
    rows = [(one.zone, one.name) for one in lists(session) if wanted is None or one.id in wanted]
    return write_csv([HEADER, *rows])


def _import_row(session: Session, line: int, cells: Sequence[str]) -> ImportRow:
    host, name = cells[0], cells[1] if len(cells) > 1 else ""
    try:
        if any(cells[2:]):
            raise Refused("two columns are wanted: rbl_hostname,rbl_name")
        zone, _ = zone_of(host)
        name = name or zone[:_LONGEST_NAME]
        present = session.scalars(select(Dnsbl).where(Dnsbl.zone == zone)).one_or_none()
        if present is not None and not present.hidden:
            if present.name == name or len(cells) < 2:
                return ImportRow(line, zone, name, "already present")
            before, present.name = present.name, _checked_name(session, name, present.id)
            session.flush()
            return ImportRow(line, zone, name, "renamed", f"was '{before}'")
        wanted = draft(session, name, host)
        row = _add(session, wanted, True)
        session.flush()
        return ImportRow(line, zone, wanted.name, "new", row.note if not row.enabled else "")
    except Refused as refused:
        return ImportRow(line, host, name, "invalid", refused.message)


def _is_zone(text: str) -> bool:
    try:
        zone_of(text)
    except Refused:
        return False
    return True


def _add(session: Session, wanted: Draft, enabled: bool) -> Dnsbl:
    row = session.scalars(select(Dnsbl).where(Dnsbl.zone == wanted.zone)).one_or_none()
    if row is not None and not row.hidden:
        raise Refused(f"'{wanted.zone}' is already present: {row.name}", 409)
    if row is None:
        row = Dnsbl(zone=wanted.zone, is_builtin=wanted.zone in BY_ZONE)
    row.name, row.hidden, row.key, row.removal_url = wanted.name, False, wanted.key, wanted.removal_url
    row.families, row.tried_families = list(wanted.families), list(wanted.tried)
    row.kind, row.codes = wanted.meaning.kind, _kept(wanted.meaning.codes)
    row.critical, row.loopback_is_listed = wanted.meaning.critical, wanted.meaning.loopback_is_listed
    _untested(row)
    row.note = wanted.retired
    row.enabled = enabled
    if enabled and (fault := _fault_of_use(row)) is not None:
        row.enabled, row.note = False, fault
    session.add(row)
    return row


def _row_of(session: Session, known: Known) -> Dnsbl:
    row = Dnsbl(zone=known.zone, is_builtin=True, hidden=False, note="", key="")
    _fill(session, row, known)
    _untested(row)
    return row


def _fill(session: Session, row: Dnsbl, known: Known) -> None:
    """Make a row what the list is when it comes; its key is kept."""
    try:
        row.name = _checked_name(session, known.name, row.id)
    except Refused:
        row.name = known.zone[:_LONGEST_NAME]
    row.enabled = known.enabled or (known.needs_key and bool(row.key))
    row.families, row.tried_families = list(known.families), list(known.tried)
    row.codes, row.kind = _kept(known.meaning.codes), known.meaning.kind
    row.critical, row.loopback_is_listed = known.meaning.critical, known.meaning.loopback_is_listed
    row.removal_url, row.note = known.url, ""


def _kept(codes: Iterable[Code]) -> dict[str, Any]:
    return {code.matches: {"meaning": code.meaning, "severity": code.severity} for code in codes}


def _untested(row: Dnsbl) -> None:
    row.status = "retired" if dnsbl_lists.retired(row.zone) else "not tested"
    row.status_detail, row.tests, row.tested_at, row.tested_through, row.refused_until = "", {}, None, "", None


def _row(session: Session, list_id: int) -> Dnsbl:
    row = session.get(Dnsbl, list_id)
    if row is None or row.hidden:
        raise NotFound(f"there is no list {list_id}")
    return row


def _each(change: Change, list_id: int, work: Any) -> Outcome:
    try:
        row = _row(change, list_id)
        name = row.name
        work(row)
    except NotFound as missing:
        return Outcome(list_id, "", False, missing.message)
    except Refused as refused:
        return Outcome(list_id, name, False, refused.message)
    return Outcome(list_id, name, True)


def _switch(row: Dnsbl, enabled: bool, switched: list[int]) -> None:
    if enabled and (fault := _fault_of_use(row)) is not None:
        raise Refused(fault)
    switched += [row.id] if row.enabled != enabled else []
    row.enabled = enabled


def _fault_of_use(row: Dnsbl) -> str | None:
    if (retired := dnsbl_lists.retired(row.zone)) is not None:
        return f"{retired}. It cannot be enabled."
    return "the list wants a key" if KEY in row.zone.split(".") and not row.key else None


def _remove(change: Change, row: Dnsbl) -> None:
    for listing in change.scalars(select(Listing).where(Listing.dnsbl_id == row.id)):
        if listing.listed_since is not None:
            change.add(past_of(listing, row, listing.listed_at or listing.checked_at))
        change.delete(listing)
    if row.is_builtin:
        row.hidden, row.enabled = True, False
    else:
        change.flush()
        change.delete(row)


def past_of(listing: Listing, row: Dnsbl, until: float) -> PastListing:
    """Give the row of a listing that is over."""
    since = listing.listed_since if listing.listed_since is not None else until
    codes = list(listing.listed_codes)
    return PastListing(address=listing.address, list_name=row.name, zone=row.zone, codes=codes, from_at=since, to_at=until)


def _move(change: Change, row: Dnsbl, domain: str) -> None:
    zone, key = zone_of(domain)
    if zone != row.zone:
        if row.is_builtin:
            raise Refused(f"the domain of {row.name} cannot be changed: add another list")
        present = change.scalars(select(Dnsbl).where(Dnsbl.zone == zone)).one_or_none()
        if present is not None:
            raise Refused(f"'{zone}' is already present: {present.name}", 409)
        _check_zone(change, zone)
        row.zone = zone
        row.note = dnsbl_lists.retired(zone) or ""
        row.enabled = row.enabled and not row.note
    row.key = key or row.key


def _check_zone(session: Session, zone: str) -> None:
    if (why := dnsbl_lists.not_of_addresses(zone)) is not None:
        raise Refused(f"'{zone}' is not a list of addresses that send mail: {why}")
    nodes = session.scalars(select(Node.name))
    if any(f".{name}".endswith(f".{zone}") or zone.endswith(f".{name}") for name in nodes) or session.scalars(
        select(Domain.id).where(Domain.name == zone)
    ).first() is not None:  # fmt: skip
        raise Refused(f"'{zone}' is one of our own zones")


def _checked_name(session: Session, name: str, own_id: int | None) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise Refused(f"the name of a list has 1 to {_LONGEST_NAME} characters")
    if not name.isprintable():
        raise Refused("the name of a list has no control characters")
    for other_id, other in session.execute(select(Dnsbl.id, Dnsbl.name).where(Dnsbl.hidden.is_(False))):
        if other_id != own_id and other.casefold() == name.casefold():
            raise Refused(f"there is a list named '{other}' already", 409)
    return name


def _checked_families(given: Iterable[int]) -> tuple[int, ...]:
    families = tuple(sorted(set(map(int, given))))
    if not families or not set(families) <= {4, 6}:
        raise Refused("the families of a list are 4, 6 or both")
    return families


def _checked_kind(kind: str) -> Kind:
    found = next((one for one in KINDS if one == kind), None)
    if found is None:
        raise Refused(f"'{kind}' is no class of lists: {', '.join(KINDS)}")
    return found


def _checked_key(key: str) -> str:
    key = key.strip()
    if key and not _KEY.match(key):
        raise Refused("a key is one label of a name: letters, digits and hyphens, 63 at most")
    return key


def _checked_url(url: str) -> str:
    url = url.strip()
    if url and (not url.startswith("https://") or not url.isprintable() or " " in url or len(url) > 255):
        raise Refused("the page of a list begins with https://")
    return url
