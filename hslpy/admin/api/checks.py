"""Checks of addresses before mail leaves from them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel

from hslpy.admin.api.delivery_ips import Scope, edit_of
from hslpy.admin.api.frame import Body, Caller, Unavailable, needs, noun
from hslpy.egress.accounts import scopes
from hslpy.egress.checks import checkup
from hslpy.egress.checks.checkup import Draft, Kept
from hslpy.egress.checks.facts import Finding
from hslpy.egress.checks.preflight import CHECKS, critical, status
from hslpy.egress.delivery_ips import settings

router = noun("checks")


class Ask(Body):
    """Which addresses to check, all on one node. With `setting` as it would be if that were saved; nothing is kept then.

    `replacing` is the address that these are to replace.
    """

    node: str
    addresses: list[str]
    setting: Scope | None = None
    replacing: str = ""


class Result(BaseModel):
    """What was found of an address. `critical`: these ask for a confirmation before it is used."""

    node: str
    address: str
    status: str
    findings: list[Finding]
    critical: list[str]


class CheckRow(BaseModel):
    """A check that there is: what operators read where it fails."""

    id: str
    title: str
    severity: str
    wording: str


MOST_ADDRESSES = 64


@router.get("/checks", summary="List what the latest checks found, of all addresses or some")
def list_kept(caller: Annotated[Caller, needs("ips:read")], node: str = "", address: str = "") -> list[Kept]:
    with caller.site.database.read() as session:
        return list(checkup.kept(session, node, address))


@router.get("/checks/all", summary="List the checks that there are")
def list_checks(caller: Annotated[Caller, needs("ips:read")]) -> list[CheckRow]:
    return [CheckRow(id=one.id, title=one.title, severity=one.severity, wording=one.wording) for one in CHECKS]


@router.post("/checks", summary="Check addresses now, as they are set or as they would be")
async def check(caller: Annotated[Caller, needs("ips:write")], body: Ask) -> list[Result]:
    checker = caller.site.checker
    if checker is None:
        raise Unavailable("checks are run by the server; start it with `hslpy serve`")
    draft = await asyncio.to_thread(_draft, caller, body.setting) if body.setting is not None else None
    found = await checker.check_now(body.node, body.addresses[:MOST_ADDRESSES], draft=draft, replacing=body.replacing)
    return [
        Result(
            node=body.node,
            address=address,
            status=status(findings),
            findings=list(findings),
            critical=[one.text for one in critical(findings)],
        )
        for address, findings in found.items()
    ]


def _draft(caller: Caller, scope: Scope) -> Draft:
    with caller.site.database.read() as session:
        target = scopes.target_of(session, **scope.names)
    return Draft(target, settings.value_of(edit_of(scope), allow_loopback=caller.site.allow_loopback))
