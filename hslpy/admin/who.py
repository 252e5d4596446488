"""Who makes a request of the web application. In: requests. Out: a `Caller`, with what it may do.

There are four ways: a token, HTTP Basic with an admin's password, the page's session, and the server's Unix socket, which
only the operator can reach. Must not know what the request asks for. Source: section A1 of the specification of delivery
IPs; RFC 6750, RFC 7617.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from hslpy.admin.site import Site
from hslpy.egress.accounts import admins
from hslpy.egress.accounts.admins import Principal
from hslpy.egress.accounts.sessions import find_session
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor
from hslpy.records import record

LOCAL = "hslpy.operator"
"""Is true in the ASGI scope of what came over the server's own Unix socket, or from a command in this process."""
LOCAL_NAME = "local"
COOKIE = "hslpy"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = ("GET", "HEAD", "OPTIONS")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class TooMany(Refused):
    """Too many sign-ins have failed: none is heard for `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(f"too many sign-ins have failed; try again in {self.wait_s} s", 429)


@record
class Caller:
    """Who calls, through what (`page`, `api`, `cli`), from where, and what they work on."""

    site: Site
    principal: Principal
    client: str
    source_address: str = ""

    @property
    def actor(self) -> Actor:
        return self.principal.actor(self.client, self.source_address)


def as_local(app: App) -> App:
    """Give the application for requests that only this machine's operator can make."""

    async def local(scope: Scope, receive: Any, send: Any) -> None:
        await app({**scope, LOCAL: True}, receive, send)

    return local


async def caller_of(site: Site, request: Request) -> Caller:
    """Give who makes a request. Raises Refused: 401, 403 for one that another web site made, TooMany."""
    if request.scope.get(LOCAL) is True:
        return Caller(site, Principal(LOCAL_NAME, "super-admin"), "cli")
    source = request.client.host if request.client is not None else ""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    scheme, value = scheme.lower(), value.strip()
    client = "api"
    if scheme == "bearer":
        principal = await asyncio.to_thread(admins.sign_in_with_token, site.database, value, site.clock.time())
    elif scheme == "basic":
        principal = await sign_in(site, *basic(value), source)
    else:
        principal, client = await _of_session(site, request), "page"
    refuse_other_sites(request.headers)
    principal.require_network(source)
    return Caller(site, principal, client, source)


async def sign_in(site: Site, name: str, password: str, source: str) -> Principal:
    """Give who signs in with a password from an address. Raises Refused (401), and TooMany."""
    name = name.replace("\x00", "")
    async with site.sign_ins.turn(source):
        wait_s = await site.sign_ins.wait_s(site.database, site.clock.time(), source, name)
        if wait_s:
            site.log("admin.sign_in_blocked", {"level": "warning", "user": name[:64], "client": source, "for_s": wait_s})
            raise TooMany(wait_s)
        try:
            principal = await asyncio.to_thread(admins.sign_in, site.database, name, password)
        except Refused:
            await site.sign_ins.failed(site.database, site.clock.time(), source, name)
            site.log("admin.sign_in_failed", {"level": "warning", "user": name[:64], "client": source})
            raise
        await site.sign_ins.succeeded(site.database, site.clock.time(), source, name)
        return principal


def cookie_name(scheme: str) -> str:
    """Give the name of the session's cookie. Browsers let a `__Host-` cookie be set by this host alone, over TLS."""
    return f"__Host-{COOKIE}" if scheme == "https" else COOKIE


def basic(value: str) -> tuple[str, str]:
    """Give name and password of HTTP Basic. Raises Refused."""
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, colon, password = "", "", ""
    if not colon or not (name + password).replace("\x00", "").strip():
        raise Refused("authentication required", 401)
    return name, password


def refuse_other_sites(headers: Mapping[str, str]) -> None:
    """Raise Refused for a request that a page of another web site made. One that was typed in names no site."""
    host = _host(f"//{headers.get('host', '')}")
    named = [value for name in ("origin", "referer") if (value := headers.get(name, "").strip())]
    if headers.get("sec-fetch-site", "").strip().lower() == "cross-site" or any(_host(one) != host for one in named):
        raise Refused("request came from another web site", 403)


async def _of_session(site: Site, request: Request) -> Principal:
    text = request.cookies.get(cookie_name(request.url.scheme), "")
    if not text:
        raise Refused("authentication required", 401)
    found = await asyncio.to_thread(find_session, site.database, text, site.clock.time())
    given = request.headers.get(CSRF_HEADER, "")
    if request.method not in _SAFE and not hmac.compare_digest(given.encode(), found.csrf.encode()):
        raise Refused(f"the header {CSRF_HEADER} is missing or not that of this session; load the page again", 403)
    return found.principal


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower().removesuffix(":443").removesuffix(":80")
    except ValueError:  # brackets that don't close
        return "?"
