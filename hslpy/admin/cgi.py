"""The calls of the classic API, as a table. In: who calls, what and with which arguments. Out: a body of plain text.

Each call is one function of `egress`, in which all rules are. Must not know of HTTP.
Source: section A of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field

from hslpy.admin.site import Site
from hslpy.egress.accounts.admins import Principal
from hslpy.egress.addresses import helos
from hslpy.egress.addresses.helos import Direction
from hslpy.egress.delivery_ips import in_force, settings
from hslpy.egress.delivery_ips.setting_rows import Outcome
from hslpy.egress.rules.names import NotFound, Refused, shown_address
from hslpy.egress.store.database import Actor
from hslpy.records import record

META = ("call", "api_language", "api_client_username")
"""Arguments of every call. The language is not looked at; the user's name of the client is for the audit."""
MOST_VALUE_BYTES = 1000  # A5, E13


Arguments = Mapping[str, str]
Run = Callable[[Site, Actor, Arguments], Awaitable[str]]


@record
class Call:
    """A call. `arguments` has their defaults, None for one that has to be given unless the one of `instead` is.

    `records` says that the function itself leaves a row in the audit.
    """

    arguments: Mapping[str, str | None]
    result: str
    description: str
    sample: str
    run: Run
    records: bool = False
    instead: Mapping[str, str] = field(default_factory=dict)


def lines(texts: Sequence[str]) -> str:
    """Give lines as a body, each with its end."""
    return "".join(f"{text}\n" for text in texts)


async def answer(
    site: Site, principal: Principal, client: str, source_address: str, pairs: Sequence[tuple[str, str]]
) -> str:
    """Give the body of a call whose arguments are `pairs`, in the order they came. What is refused is in the audit too.

    Raises Refused.
    """
    given = {name: value.strip(" ") for name, value in pairs}
    name, label = given.get("call", ""), given.get("api_client_username", "")
    actor = principal.actor(f"{client}: {label}"[:64] if label.isprintable() and label else client, source_address)
    call = CALLS.get(name)
    try:
        _check_values(pairs)
        if not name:
            raise Refused("missing argument 'call'")
        if call is None:
            raise NotFound(f"unknown call '{name}' (see api_help)")
        principal.require_call(name, source_address, changes=call.records)
        arguments = _arguments(call, given)
        body = await call.run(site, actor, arguments)
    except Refused as error:
        # Of what is no argument of the call the value is left out: it may be a secret.
        known = call.arguments if call is not None else ()
        told = {key: value if key in known else "" for key, value in given.items() if key not in META}
        action = name if call is not None else "api"
        told |= {} if call is not None else {"call": name}
        await asyncio.to_thread(site.database.record, actor, action, told, error_line(error))
        raise
    if not call.records:
        await asyncio.to_thread(site.database.record, actor, name, arguments, body)
    return body


def error_line(error: Refused) -> str:
    """Give what is refused as the one line that the caller reads."""
    return "ERROR: " + "".join(one if one.isprintable() else "?" for one in error.message)


def _check_values(pairs: Sequence[tuple[str, str]]) -> None:
    seen = set()
    for name, value in pairs:
        if name in seen:
            raise Refused(f"argument '{name}' given more than once")
        seen.add(name)
        if any(one < " " or one == "\x7f" for one in value):
            raise Refused(f"argument '{name}' has control characters")


def _arguments(call: Call, given: Arguments) -> Arguments:
    """Give the arguments that are not empty. Raises Refused for those that are unknown or missing."""
    for name in given:
        if name not in call.arguments and name not in META:
            near = difflib.get_close_matches(name, call.arguments, 1)
            raise Refused(f"unexpected argument '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    found = {name: value for name in call.arguments if (value := given.get(name, ""))}
    for name, default in call.arguments.items():
        if default is None and name not in found and call.instead.get(name) not in found:
            raise Refused(f"missing argument '{name}'")
    return found


# What the calls do


async def _get_interfaces(site: Site, actor: Actor, arguments: Arguments) -> str:
    found = await asyncio.to_thread(lambda: in_force.get_interfaces(site.database, **arguments))
    return lines(found.lines)


async def _get_json(site: Site, actor: Actor, arguments: Arguments) -> str:
    found = await asyncio.to_thread(lambda: in_force.get_json(site.database, **arguments))
    return lines([json.dumps(found, ensure_ascii=False)])


async def _set_interfaces(site: Site, actor: Actor, arguments: Arguments) -> str:
    def work() -> Outcome:
        action = "api_set_outgoing_interfaces"
        return settings.set_interfaces(
            site.database,
            actor,
            action=action,
            strict=None,
            allow_loopback=site.allow_loopback,
            **arguments,
        )

    return lines((await asyncio.to_thread(work)).lines)


def _set_helo(action: str, direction: Direction) -> Run:
    async def run(site: Site, actor: Actor, arguments: Arguments) -> str:
        address, helo = arguments["ip"], arguments.get("ehlo", "")
        seen = await helos.look_before(site.resolver, address, helo) if site.resolver is not None else None

        def work() -> Sequence[str]:
            with site.database.change(actor, action, arguments) as change:
                warnings = helos.set_helo(change, address, helo, direction=direction, seen=seen)
                change.result = "\n".join(warnings)
                return warnings

        return lines([f"WARNING: {one}" for one in await asyncio.to_thread(work)])

    return run


def _get_helo(direction: Direction) -> Run:
    async def run(site: Site, actor: Actor, arguments: Arguments) -> str:
        def work() -> helos.Effective:
            with site.database.read() as session:
                return helos.get_helo(session, arguments["ip"], site.clock.time(), direction=direction)

        found = await asyncio.to_thread(work)
        return lines([*(f"WARNING: {one}" for one in found.warnings), found.helo])

    return run


async def _list_helos(site: Site, actor: Actor, arguments: Arguments) -> str:
    def work() -> Sequence[helos.Effective]:
        with site.database.read() as session:
            return helos.list_helos(session, site.clock.time())

    return lines([f"{shown_address(one.address)} {one.helo}" for one in await asyncio.to_thread(work)])


async def _help(site: Site, actor: Actor, arguments: Arguments) -> str:
    return "\n".join(_described(name, call, site.url) for name, call in CALLS.items())


def _described(name: str, call: Call, url: str) -> str:
    signature = ", ".join(one if default is None else f"{one}={default!r}" for one, default in call.arguments.items())
    sample = f"{url}?call={name}" + (f"&{call.sample}" if call.sample else "")
    return lines([f"{name}({signature}) -> {call.result}", f"    {call.description}", f"    {sample}"])


_SCOPE: Mapping[str, str | None] = {"username": "", "identity": ""}
_IP: Mapping[str, str | None] = {"ip": None}
_NOTHING = '""'

CALLS: Mapping[str, Call] = {
    "api_help": Call({}, "text", "List the calls.", "", _help),
    "api_get_outgoing_interfaces": Call(
        {"domain": None, **_SCOPE, "filtering_host": ""},
        "text",
        "Give the addresses in force for a domain, a user or an identity, a line for each server: its name, and the "
        "addresses with ; between. 0.0.0.0 and ::0 stand for the primary address. domain=default is every user.",
        "domain=default&username=",
        _get_interfaces,
    ),
    "api_get_outgoing_interfaces_json": Call(
        {"domain": "", **_SCOPE, "admin": ""},
        "JSON",
        "Give the settings by server, all of them or those of what is named.",
        "domain=example.com",
        _get_json,
    ),
    "api_set_outgoing_interfaces": Call(
        {"domain": None, "filtering_host": None, "interfaces": "", **_SCOPE, "admin": "", "disable_ipv4": ""},
        _NOTHING,
        "Set the addresses for a domain, a user or an identity on one server, in place of those there are; without "
        "interfaces the setting is removed. Several domains have ; between; admin= takes the place of domain=.",
        "domain=default&filtering_host=node2.example.com&interfaces=192.0.2.11%3B192.0.2.12&username=",
        _set_interfaces,
        records=True,
        instead={"domain": "admin"},
    ),
    "api_get_outgoing_ehlo": Call(
        _IP,
        "text",
        "Give the HELO name in force for an address: the one set, else its reverse DNS name, else the server's name.",
        "ip=192.0.2.11",
        _get_helo("outgoing"),
    ),
    "api_set_outgoing_ehlo": Call(
        {**_IP, "ehlo": ""},
        _NOTHING,
        "Set the HELO name of an address, on all servers; without ehlo it is the reverse DNS name again.",
        "ip=192.0.2.11&ehlo=out1.example.com",
        _set_helo("api_set_outgoing_ehlo", "outgoing"),
        records=True,
    ),
    "api_remove_outgoing_ehlo": Call(
        _IP,
        _NOTHING,
        "Remove the HELO name that was set for an address.",
        "ip=192.0.2.11",
        _set_helo("api_remove_outgoing_ehlo", "outgoing"),
        records=True,
    ),
    "api_list_outgoing_ehlo": Call(
        {}, "text", "Give the addresses whose HELO name was set, a line for each: address and name.", "", _list_helos
    ),
    "api_get_incoming_ehlo": Call(
        _IP,
        "text",
        "Give the HELO name in force for an address that mail is delivered from to customers' own servers.",
        "ip=192.0.2.11",
        _get_helo("incoming"),
    ),
    "api_set_incoming_ehlo": Call(
        {**_IP, "ehlo": ""},
        _NOTHING,
        "Set the HELO name of an address for delivery to customers' own servers; without ehlo it is removed.",
        "ip=192.0.2.11&ehlo=in1.example.com",
        _set_helo("api_set_incoming_ehlo", "incoming"),
        records=True,
    ),
}
