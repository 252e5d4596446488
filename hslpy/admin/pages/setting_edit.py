"""Configure outgoing IP, and Edit: the form of one setting, its checks, what to do when two change it at once.

In: visits. Out: pages. Every rule is in `egress`. Source: section B3 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi.responses import Response

from hslpy.admin.pages.delivery_ips import PATH
from hslpy.admin.pages.render import sentence
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Visit, numbers
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.checks import setting_form
from hslpy.egress.checks.facts import Finding
from hslpy.egress.checks.preflight import CHECKS
from hslpy.egress.delivery_ips import setting_list, settings
from hslpy.egress.delivery_ips.setting_rows import Conflict, Edit, Outcome, Row, Value
from hslpy.egress.rules.book import LEVEL_NAMES, LEVELS, PRIMARY, Family
from hslpy.egress.rules.names import Refused, about, canonical_address, read_interfaces
from hslpy.egress.rules.sources import family_of
from hslpy.records import record

ALL_NODES = "*"
FAMILIES: Sequence[Family] = (4, 6)
_TITLES = {one.id: one.title for one in CHECKS}
_MOST_CHECKED = 64


@record
class Entered:
    """What the form says. `id` and `version` are those of the row that is edited, 0 for a new one."""

    id: int = 0
    version: int = 0
    level: str = "default"
    admin: str = ""
    domain: str = ""
    username: str = ""
    identity: str = ""
    hostname: str = ""
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    other4: str = ""
    other6: str = ""
    ipv4_disabled: bool = False
    strict: bool = False
    confirmed: bool = False
    confirmed_host: str = ""
    warm: str = ""
    form_id: str = ""

    @property
    def scope(self) -> dict[str, str]:
        """Whom it is for, without what the level does not have; the authenticating domain has its domain's setting."""
        level = "domain" if self.level == "user" and not self.username else self.level
        names = {"admin": ("admin",), "domain": ("domain",), "user": ("domain", "username")}
        names["identity"] = ("domain", "username", "identity")
        return {"level": level, **{name: getattr(self, name) for name in names.get(level, ())}}

    def listed(self, family: Family) -> tuple[str, ...]:
        """Give the addresses that are chosen of a family, as they were written."""
        ticked, other = (self.ipv4, self.other4) if family == 4 else (self.ipv6, self.other6)
        return (*ticked, *(part for part in other.replace(",", ";").replace(" ", ";").split(";") if part))

    @property
    def value(self) -> Value:
        """What it would set, without what cannot be read."""
        found: dict[Family, list[str]] = {4: [], 6: []}
        for family in FAMILIES:
            for one in self.listed(family):
                try:
                    address = canonical_address(one)
                except Refused:
                    continue
                if family_of(address) == family and address not in found[family]:
                    found[family].append(address)
        return Value(() if self.ipv4_disabled else tuple(found[4]), tuple(found[6]), self.ipv4_disabled, self.strict)


def entered(visit: Visit) -> Entered:
    """Give what was entered in the form."""
    texts = ("admin", "domain", "username", "identity", "hostname", "other4", "other6", "confirmed_host")
    given: dict[str, Any] = {name: visit.field(name).strip() for name in texts}
    number: dict[str, Any] = {name: next(iter(numbers([visit.field(name)])), 0) for name in ("id", "version")}
    level = visit.field("level")
    return Entered(
        **given,
        **number,
        level=level if level in LEVELS else "default",
        ipv4=tuple(visit.fields("ipv4")),
        ipv6=tuple(visit.fields("ipv6")),
        ipv4_disabled=bool(visit.field("ipv4_disabled")),
        strict=bool(visit.field("strict")),
        confirmed=bool(visit.field("confirmed")),
        warm=visit.field("warm"),
        form_id=visit.field("form_id")[:64],
    )


def of_row(row: Row) -> Entered:
    return Entered(
        row.id,
        row.version,
        row.level,
        row.admin,
        row.domain,
        row.username,
        row.identity,
        row.hostname,
        row.ipv4,
        row.ipv6,
        ipv4_disabled=row.ipv4_disabled,
        strict=row.strict,
        confirmed=row.ipv4_disabled,
    )


@page(f"{PATH}/new")
def new(visit: Visit) -> Response:
    nodes = list_nodes(visit.database)
    asked: dict[str, Any] = {
        name: visit.asked(name) for name in ("level", "admin", "domain", "username", "identity", "hostname")
    }
    given = Entered(**{name: value for name, value in asked.items() if value})
    if given.level not in LEVELS:
        raise Refused(f"'{given.level}' is no level", 404)
    if not given.hostname and nodes:
        given = replace(given, hostname=nodes[0].name)
    return form(visit, given)


@page(f"{PATH}/{{id:int}}/edit")
def edit(visit: Visit) -> Response:
    return form(visit, of_row(setting_list.get(visit.database, visit.id())))


@page(f"{PATH}/save", methods=("POST",))
def save(visit: Visit) -> Response:
    """Carry out what the form says, or show it again: with what is wrong, or with what has to be confirmed."""
    given, button = entered(visit), visit.field("do")
    if visit.is_resumed or button == "refresh":
        return form(visit, given, _unknown(visit, given), is_draft=True)
    done = visit.finished(given.form_id)
    if done:
        return visit.redirect(done)
    errors = faults(visit, given)
    if errors:
        return form(visit, given, errors, status=400)
    if not visit.field("anyway"):
        found = _known_critical(visit, given)
        if found:
            return form(visit, given, found=found)
    fresh = _fresh(visit, given)
    try:
        outcome = _carry_out(visit, given)
    except Conflict as conflict:
        done = visit.finished(given.form_id)
        return visit.redirect(done) if done else _conflict(visit, given, conflict)
    except Refused as error:
        return form(visit, given, {error.field or "hostname": error.message}, status=error.status)
    to = f"{PATH}?tab=settings&show=1&match=all"
    visit.finish(given.form_id, to)
    told = setting_form.warm_up(
        visit.database, visit.actor, fresh, given.warm or "start", anyway=bool(visit.field("anyway"))
    )
    tell(visit, outcome, " ".join([_said(outcome), *told]))
    return visit.redirect(to)


def _fresh(visit: Visit, given: Entered) -> Sequence[str]:
    """Give the chosen addresses of which it is to be said how they begin: new ones, and those held back if asked for."""
    if given.hostname == ALL_NODES:
        return ()
    value = given.value
    chosen = (*value.ipv4, *value.ipv6)
    with visit.database.read() as session:
        found = setting_form.inventory_of(
            session, given.hostname, visit.now, chosen, allow_loopback=visit.site.allow_loopback
        )
    return [
        one.address
        for one in found.choices
        if one.address in chosen and (one.is_new or (one.is_held_back and given.warm in ("start", "warm")))
    ]


def _carry_out(visit: Visit, given: Entered) -> Outcome:
    what = Edit(
        None if given.ipv4_disabled else list(given.listed(4)),
        list(given.listed(6)),
        given.ipv4_disabled,
        given.strict,
    )
    if given.id:
        return settings.edit_row(
            visit.database,
            visit.actor,
            given.id,
            given.version,
            what,
            confirmed_host=given.confirmed_host,
            allow_loopback=visit.site.allow_loopback,
        )
    scope: dict[str, Any] = given.scope
    hostnames = [] if given.hostname == ALL_NODES else [given.hostname]
    return settings.add(
        visit.database,
        visit.actor,
        what,
        hostnames=hostnames,
        confirmed_host=given.confirmed_host,
        allow_loopback=visit.site.allow_loopback,
        **scope,
    )


def tell(visit: Visit, outcome: Outcome, text: str) -> None:
    """Say what was done, with its warnings, and offer to take it back."""
    warns = bool(outcome.warnings or outcome.failed)
    details = [*outcome.warnings, *(f"Row {row}: {reason}" for row, reason in outcome.failed)]
    visit.banner(text, "warning" if warns else "ok", details, outcome.undo)


def _said(outcome: Outcome) -> str:
    rows = [after for _, after in outcome.done if after is not None]
    if not rows:
        return "Saved."
    hosts = admins.some([one.hostname for one in rows])
    return f"Saved: {name_of(rows[0])} on {hosts} {'uses' if len(rows) == 1 else 'use'} {used(rows[0])}."


def name_of(row: Row) -> str:
    """Give whom a setting is for, as the page says it."""
    parts = [part for part in (row.admin, row.domain, row.username, row.identity) if part]
    return f"{LEVEL_NAMES[row.level]} {' / '.join(parts)}".strip()


def used(row: Row) -> str:
    """Give a setting's addresses in a few words."""
    ipv4 = "no IPv4" if row.ipv4_disabled else admins.some(row.ipv4, 3) or "the primary IPv4 address"
    return f"{ipv4} and {admins.some(row.ipv6, 3) or 'any IPv6 address'}"


# What is wrong


def faults(visit: Visit, given: Entered) -> dict[str, str]:
    """Give what is wrong with what was entered, by field."""
    errors: dict[str, str] = {}
    wanted = {"admin": "Choose an admin.", "domain": "Choose a domain.", "identity": "Enter an identity."}
    for name in given.scope:
        if name in wanted and not getattr(given, name):
            errors[name] = wanted[name]
    errors |= _unknown(visit, given)
    if not given.hostname:
        errors["hostname"] = "Choose a host name."
    for family in FAMILIES:
        if family == 4 and given.ipv4_disabled:
            continue
        try:
            found = read_interfaces(";".join(given.listed(family)), allow_loopback=visit.site.allow_loopback)
            wrong = found[1] if family == 4 else found[0]
            if wrong:
                errors[f"other{family}"] = f"'{wrong[0]}' is not an IPv{family} address."
            elif given.hostname == ALL_NODES and (found[0] or found[1]):
                errors["hostname"] = "Addresses belong to one server: choose its host name."
        except Refused as error:
            errors[f"other{family}"] = error.message
    if given.ipv4_disabled and not given.confirmed:
        errors["confirmed"] = "Confirm that delivery over IPv4 is to be disabled."
    return errors


def _unknown(visit: Visit, given: Entered) -> dict[str, str]:
    """Give what is said of names that do not exist, by field."""
    scope = given.scope
    try:
        with visit.database.read() as session:
            if scope.get("domain"):
                with about("domain"):
                    domain = directory.domain_of(session, given.domain)
                with about("username"):
                    if scope.get("username"):
                        directory.user_of(session, domain, given.username)
            with about("admin"):
                if scope.get("admin"):
                    admins.admin_of(session, given.admin)
    except Refused as error:
        return {error.field: error.message}
    return {}


def _known_critical(visit: Visit, given: Entered) -> Mapping[str, Sequence[Finding]]:
    """Give the findings, by address, of a setting that has critical ones by what is known now."""
    if given.hostname == ALL_NODES:
        return {}
    with visit.database.read() as session:
        draft = setting_form.draft_of(session, given.value, **given.scope)
        bad = setting_form.known_critical(session, given.hostname, draft, visit.now)
    found: dict[str, list[Finding]] = {}
    for address, finding in bad:
        found.setdefault(address, []).append(finding)
    return found


# The form


def form(
    visit: Visit,
    given: Entered,
    errors: Mapping[str, str] | None = None,
    *,
    found: Mapping[str, Sequence[Finding]] | None = None,
    checked: bool = False,
    is_draft: bool = False,
    status: int = 200,
) -> Response:
    """Show the form. `found` are findings to show: critical ones make Save into Save anyway.

    Of a draft, which nobody has tried to save yet, errors stand beside their fields alone.
    """
    value = given.value
    with visit.database.read() as session:
        draft = setting_form.draft_of(session, value, **given.scope)
        nodes = list_nodes(visit.database)
        inventory, about = None, ""
        if given.hostname and given.hostname != ALL_NODES:
            inventory = setting_form.inventory_of(
                session,
                given.hostname,
                visit.now,
                (*value.ipv4, *value.ipv6),
                allow_loopback=visit.site.allow_loopback,
            )
            about = setting_form.affected_by(session, given.hostname, **given.scope)
        context = {**_people(visit, session, given), "findings": _shown(session, given, draft, found, visit.now)}
    chosen = [one for one in (*value.ipv4, *value.ipv6) if one not in PRIMARY.values()]
    rows = {one.address: one for one in inventory.choices} if inventory is not None else {}
    critical = sorted({one.text for each in (found or {}).values() for one in each if one.outcome == "critical"})
    return visit.render(
        "setting_form.html",
        status,
        title="Edit outgoing IP" if given.id else "Configure outgoing IP",
        given=given,
        value=value,
        errors=errors or {},
        levels=list(LEVEL_NAMES.items()),
        nodes=[one.name for one in nodes],
        all_nodes=ALL_NODES,
        inventory=inventory,
        affected=about,
        is_new=any(rows[one].is_new or rows[one].is_held_back for one in chosen if one in rows),
        warm=given.warm or ("wait" if any(rows[one].is_held_back for one in chosen if one in rows) else "start"),
        helos=[rows[one] for one in chosen if one in rows],
        critical=critical,
        checked=checked,
        is_draft=is_draft,
        form_id=given.form_id or visit.new_form(),
        titles=_TITLES,
        primary=PRIMARY,
        **context,
    )


def _people(visit: Visit, session: Any, given: Entered) -> dict[str, Any]:
    """Give who can be chosen: admins, domains, the domain's users, identities seen."""
    domains = [one.name for one in directory.list_domains(visit.database)]
    users: Sequence[str] = ()
    identities: Sequence[str] = ()
    if given.domain and given.level in ("user", "identity"):
        try:
            domain = directory.domain_of(session, given.domain)
            users = [one.username for one in directory.list_users(visit.database, domain.name) if one.username]
            identities = directory.identities(visit.database, domain.name, given.username)
        except Refused:
            pass
    names = [one.name for one in admins.list_admins(visit.database)]
    return {"admins": names, "domains": domains, "users": users, "identities": identities}


def _shown(
    session: Any,
    given: Entered,
    draft: Any,
    found: Mapping[str, Sequence[Finding]] | None,
    now: float,
) -> Sequence[tuple[str, Sequence[Finding]]]:
    """Give the findings to show of each address: those just made, else what is known."""
    if given.hostname in ("", ALL_NODES):
        return []
    out = []
    for one in [*draft.value.ipv4, *draft.value.ipv6][:_MOST_CHECKED]:
        if one in PRIMARY.values():
            continue
        known = (found or {}).get(one)
        out.append((one, known or setting_form.known_findings(session, given.hostname, one, draft, now)))
    return out


# Checks


@page(f"{PATH}/check", methods=("POST",))
async def check_form(visit: Visit) -> Response:
    """Check the addresses of the form: all of them for a page, one for the script."""
    given = entered(visit)
    if visit.is_dialog:
        address = visit.field("address")
        findings = await _check(visit, given, address)
        context = {"address": address, "findings": findings, "titles": _TITLES}
        return await asyncio.to_thread(lambda: visit.render("setting_check.html", **context))
    value = given.value
    chosen = [one for one in (*value.ipv4, *value.ipv6) if one not in PRIMARY.values()][:_MOST_CHECKED]
    results = await asyncio.gather(*(_check(visit, given, one) for one in chosen))
    found = dict(zip(chosen, results, strict=True))
    return await asyncio.to_thread(form, visit, given, found=found, checked=True)


async def _check(visit: Visit, given: Entered, address: str) -> Sequence[Finding]:
    def draft() -> Any:
        with visit.database.read() as session:
            return setting_form.draft_of(session, given.value, **given.scope)

    wanted = await asyncio.to_thread(draft)
    if visit.site.checker is not None:
        return (await visit.site.checker.check_now(given.hostname, [address], draft=wanted))[address]

    def known() -> Sequence[Finding]:
        with visit.database.read() as session:
            return setting_form.known_findings(session, given.hostname, address, wanted, visit.now)

    return await asyncio.to_thread(known)


# Two at once


def _conflict(visit: Visit, given: Entered, conflict: Conflict) -> Response:
    theirs = conflict.theirs
    mine = given.value
    return visit.render(
        "setting_conflict.html",
        409,
        title="Somebody else has changed this setting" if given.id else "There is a setting for this already",
        message=sentence(conflict.message) if given.id else "",
        given=given,
        mine=mine,
        theirs=theirs,
        name=name_of(theirs) if theirs is not None else "",
        fields=_again(visit, given, theirs),
    )


def _again(visit: Visit, given: Entered, theirs: Row | None) -> Mapping[str, Any]:
    """Give the form's fields, to be sent once more: over the row as it is now."""
    fields: dict[str, Any] = {**given.scope, "hostname": given.hostname, "ipv4": given.ipv4, "ipv6": given.ipv6}
    fields |= {"other4": given.other4, "other6": given.other6, "anyway": "1"}
    fields |= {"confirmed": "1", "confirmed_host": given.confirmed_host}
    fields |= {name: "1" for name in ("ipv4_disabled", "strict") if getattr(given, name)}
    return fields | {
        "id": theirs.id if theirs is not None else 0,
        "version": theirs.version if theirs is not None else 0,
        "form_id": visit.new_form(),
    }
