"""Delivery settings: which addresses mail leaves from, for whom."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query as Asked
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from hslpy.admin import queued_mail
from hslpy.admin.api.directory import own_domain
from hslpy.admin.api.frame import SUPER, Body, Caller, CsvFile, Id, ManyIds, NotFound, Paged, Ticket, csv_reply, needs, noun
from hslpy.admin.api.rules import Rules, asked_rows
from hslpy.egress.delivery_ips import explain as explaining
from hslpy.egress.delivery_ips import in_force, setting_list, setting_sheet, settings
from hslpy.egress.delivery_ips.explain import Explanation
from hslpy.egress.delivery_ips.queries import OPERATORS
from hslpy.egress.delivery_ips.setting_list import Listed
from hslpy.egress.delivery_ips.setting_rows import Edit, Outcome, Row
from hslpy.egress.delivery_ips.setting_sheet import Line
from hslpy.egress.traffic import picture

router = noun("delivery IPs")

READ = needs("ips:read", SUPER, "admin", "read-only")
WRITE = needs("ips:write")
MOST_EXPORTED = 50_000


class Change(Body):
    """What is to be changed; what is left out, or null, stays. Addresses are canonical or not, or `0.0.0.0`, `::0`."""

    ipv4: list[str] | None = None
    ipv6: list[str] | None = None
    ipv4_disabled: bool | None = None
    strict: bool | None = None


class Scope(Change):
    """Whom a setting is for: what `level` wants has to be named, and nothing more."""

    level: str
    admin: str = ""
    domain: str = ""
    username: str = ""
    identity: str = ""

    @property
    def names(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("level", "admin", "domain", "username", "identity")}


class NewSetting(Scope):
    """No `hostnames`: all nodes, which only a setting without addresses can be for.

    `confirmed_host` is the node's name, where IPv4 is disabled though no IPv6 works.
    """

    hostnames: list[str] = Field(default_factory=list)
    confirmed_host: str = ""


class EditSetting(Change):
    """`version` is that of the setting as it was read: where it was changed since, the answer is 409 with `theirs`."""

    version: int
    confirmed_host: str = ""


class BulkEdit(Change):
    ids: ManyIds


class Ids(Body):
    ids: ManyIds


class Replacement(Body):
    """Put `new` in the place of `old`. `confirmed`: though messages of locked senders are queued."""

    ids: ManyIds
    old: str
    new: str
    confirmed: bool = False


class Interfaces(Body):
    """The setting of one scope on one node, as the call `api_set_outgoing_interfaces` has it. No `interfaces`: removed.

    `strict` left out: as it was.
    """

    domain: str = ""
    admin: str = ""
    username: str = ""
    identity: str = ""
    filtering_host: str
    interfaces: list[str] = Field(default_factory=list)
    disable_ipv4: bool = False
    strict: bool | None = None


class Failed(BaseModel):
    id: int
    message: str


class Changed(BaseModel):
    """What came of a change. `undo` takes it back, for a while; empty: there is nothing to take back."""

    rows: list[Row]
    removed: list[Row]
    warnings: list[str]
    failed: list[Failed]
    undo: str


class FieldRow(BaseModel):
    """What rules can ask for."""

    field: str
    label: str
    kind: str
    operators: list[str]
    choices: list[str]


class Fields(BaseModel):
    fields: list[FieldRow]
    columns: dict[str, str]


class InForce(BaseModel):
    """What is in force on each node, as the call `api_get_outgoing_interfaces` prints it."""

    nodes: dict[str, str]
    warnings: list[str]


_COLUMNS = {
    "helo": "helos",
    "ipv4_delivery": "ipv4_disabled",
    "last_used": "last_used_at",
    "changed": "changed_at",
}  # names of columns that are others here


def edit_of(change: Change) -> Edit:
    return Edit(change.ipv4, change.ipv6, change.ipv4_disabled, change.strict)


def _changed(outcome: Outcome) -> Changed:
    return Changed(
        rows=[after for _, after in outcome.done if after is not None],
        removed=[before for before, after in outcome.done if after is None and before is not None],
        warnings=list(outcome.warnings),
        failed=[Failed(id=one, message=text) for one, text in outcome.failed],
        undo=outcome.undo,
    )


@router.get("/delivery-ips", summary="List settings by rules, a page at a time", response_model=Paged[Listed])
def list_settings(caller: Annotated[Caller, READ], query: Rules) -> Paged[Listed] | Response:
    if query.columns:
        setting_list.columns_of(query)
    found = setting_list.list_page(caller.site.database, query, caller.site.clock.time(), admins=caller.principal.admins)
    rows = asked_rows(query, found.page, found.rows)
    if not query.columns:
        return Paged[Listed].model_construct(items=rows, total=found.total, page=query.page, pages=found.pages)
    names = ("id", "version", *(_COLUMNS.get(one, one) for one in query.columns))
    items = [{name: getattr(one, name) for name in names} for one in rows]
    return JSONResponse({"items": items, "total": found.total, "page": query.page, "pages": found.pages})


@router.get("/delivery-ips/fields", summary="List what rules can ask for, and the columns")
def list_fields(caller: Annotated[Caller, READ]) -> Fields:
    with caller.site.database.read() as session:
        found = setting_list.fields(session, caller.site.clock.time())
    rows = [
        FieldRow(field=key, label=one.label, kind=one.kind, operators=list(OPERATORS[one.kind]), choices=list(one.choices))
        for key, one in found.items()
    ]
    return Fields(fields=rows, columns=dict(setting_list.COLUMNS))


@router.get("/delivery-ips/ids", summary="List the ids of all settings that rules hold for")
def list_ids(caller: Annotated[Caller, READ], query: Rules) -> list[int]:
    site = caller.site
    return list(setting_list.matching_ids(site.database, query, site.clock.time(), admins=caller.principal.admins))


@router.get("/delivery-ips/in-force", summary="Show the addresses in force for a domain, a user or an identity")
def show_in_force(
    caller: Annotated[Caller, READ],
    domain: str = "default",
    username: str = "",
    identity: str = "",
    filtering_host: str = "",
) -> InForce:
    if caller.principal.admins is not None:
        own_domain(caller, domain)
    found = in_force.get_interfaces(
        caller.site.database, domain=domain, username=username, identity=identity, filtering_host=filtering_host
    )
    return InForce(nodes=dict(found.nodes), warnings=list(found.warnings))


@router.get("/delivery-ips/export.csv", summary="Export the settings that rules hold for, or those of some ids, as CSV")
def export(
    caller: Annotated[Caller, READ],
    query: Rules,
    id: Annotated[list[int], Asked()] = [],  # noqa: B006
) -> Response:
    site = caller.site
    every = replace(query, page=1, per_page=MOST_EXPORTED)
    found = setting_list.list_page(site.database, every, site.clock.time(), admins=caller.principal.admins)
    rows = [one for one in found.rows if not id or one.id in set(id)]
    return csv_reply(setting_sheet.export(rows), "delivery-ips.csv")


@router.post("/delivery-ips/import", summary="Set what each line of a CSV file says, or tell what would come of it")
def load(caller: Annotated[Caller, WRITE], file: CsvFile, preview: bool = False) -> list[Line]:
    site = caller.site
    return list(setting_sheet.load(site.database, caller.actor, file, only_look=preview, allow_loopback=site.allow_loopback))


@router.get("/delivery-ips/explain", summary="Explain why mail of a sender leaves from where")
def explain(
    caller: Annotated[Caller, READ],
    node: str = "",
    domain: str = "",
    username: str = "",
    identity: str = "",
    family: Annotated[int, Asked(description="4 or 6")] = 4,
) -> Explanation:
    if caller.principal.admins is not None:
        own_domain(caller, domain)
    site = caller.site
    with site.database.read() as session:
        seen = picture.read(session)
    return explaining.explain(
        site.database,
        seen,
        node=node,
        family=family,
        now=site.clock.time(),
        domain=domain,
        username=username,
        identity=identity,
    )


@router.get("/delivery-ips/{id}", summary="Show a setting")
def show(caller: Annotated[Caller, READ], id: Id) -> Row:
    return setting_list.get(caller.site.database, id, admins=caller.principal.admins)


@router.post("/delivery-ips", summary="Add a setting", status_code=201)
def add(caller: Annotated[Caller, WRITE], body: NewSetting) -> Changed:
    outcome = settings.add(
        caller.site.database,
        caller.actor,
        edit_of(body),
        **body.names,
        hostnames=body.hostnames,
        confirmed_host=body.confirmed_host,
        allow_loopback=caller.site.allow_loopback,
    )
    return _changed(outcome)


@router.put("/delivery-ips", summary="Set the addresses of a scope on a node, whatever they were")
def put(caller: Annotated[Caller, WRITE], body: Interfaces) -> Changed:
    given: dict[str, Any] = body.model_dump(exclude={"interfaces", "disable_ipv4"})
    outcome = settings.set_interfaces(
        caller.site.database,
        caller.actor,
        **given,
        interfaces=";".join(body.interfaces),
        disable_ipv4="1" if body.disable_ipv4 else "",
        allow_loopback=caller.site.allow_loopback,
    )
    return _changed(outcome)


@router.patch("/delivery-ips/{id}", summary="Change a setting")
def edit(caller: Annotated[Caller, WRITE], id: Id, body: EditSetting) -> Changed:
    outcome = settings.edit_row(
        caller.site.database,
        caller.actor,
        id,
        body.version,
        edit_of(body),
        confirmed_host=body.confirmed_host,
        allow_loopback=caller.site.allow_loopback,
    )
    return _changed(outcome)


@router.delete("/delivery-ips/{id}", summary="Remove a setting; a node's default goes back to its primary address")
def remove_one(caller: Annotated[Caller, WRITE], id: Id) -> Changed:
    outcome = settings.remove(caller.site.database, caller.actor, [id])
    if outcome.failed:
        raise NotFound("there is no such setting")
    return _changed(outcome)


@router.post("/delivery-ips/bulk-edit", summary="Change the same of several settings")
def bulk_edit(caller: Annotated[Caller, WRITE], body: BulkEdit) -> Changed:
    site = caller.site
    outcome = settings.bulk_edit(site.database, caller.actor, body.ids, edit_of(body), allow_loopback=site.allow_loopback)
    return _changed(outcome)


@router.post("/delivery-ips/remove", summary="Remove several settings")
def remove(caller: Annotated[Caller, WRITE], body: Ids) -> Changed:
    return _changed(settings.remove(caller.site.database, caller.actor, body.ids))


@router.post("/delivery-ips/replace", summary="Put one address in another's place, in several settings")
async def replace_address(caller: Annotated[Caller, WRITE], body: Replacement) -> Changed:
    site = caller.site
    queued = await queued_mail.of_locked(site.database, site.control, site.node)
    outcome = await asyncio.to_thread(
        settings.replace_address,
        site.database,
        caller.actor,
        body.ids,
        body.old,
        body.new,
        queued_spam=queued,
        is_confirmed=body.confirmed,
        allow_loopback=site.allow_loopback,
    )
    return _changed(outcome)


@router.post("/delivery-ips/undo", summary="Take back a change of one's own, but for settings that were changed since")
def undo(caller: Annotated[Caller, WRITE], body: Ticket) -> Changed:
    return _changed(settings.undo(caller.site.database, caller.actor, body.undo))
