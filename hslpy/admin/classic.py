"""The classic API over HTTP. In: requests. Out: what `cgi.answer` gives, as replies; who calls is found out here.

The database is asked in threads, never on the event loop. Must not know any rule of delivery IPs.
Source: sections A1 and A5 of the specification of delivery IPs; RFC 7617 for HTTP Basic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from hslpy.admin import cgi, faults
from hslpy.admin.site import Site
from hslpy.admin.who import LOCAL, TooMany, basic, caller_of, refuse_other_sites, sign_in
from hslpy.egress.accounts import admins
from hslpy.egress.rules.names import Refused

API = "/cgi-bin/api"
_FORM = "application/x-www-form-urlencoded"
_MOST_BODY_BYTES = 1 << 16  # every argument of a call at its longest, each octet written as %xx, fits
_METHODS = ("GET", "POST")
_OTHER_METHODS = ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def add_classic_api(app: FastAPI, site: Site) -> None:
    log = site.log

    async def api(request: Request) -> Response:
        try:
            return _reply(await _answer(site, request))
        except Refused as error:
            extra = {}
            if error.status == 401:
                extra = {"WWW-Authenticate": 'Basic realm="Software API"'}
            if isinstance(error, TooMany):
                extra = {"Retry-After": str(error.wait_s)}
            return _reply(cgi.lines([cgi.error_line(error)]), error.status, extra)
        except Exception as error:
            refused = faults.told(log, API, error)
            return _reply(cgi.lines([cgi.error_line(refused)]), refused.status)

    async def wrong_method(request: Request) -> Response:
        allow = {"Allow": ", ".join(_METHODS)}
        return _reply(cgi.lines(["ERROR: use GET or POST"]), 405, allow)

    app.add_api_route(API, api, methods=list(_METHODS), response_model=None, include_in_schema=False)
    app.add_api_route(API, wrong_method, methods=list(_OTHER_METHODS), response_model=None, include_in_schema=False)


def _reply(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(body, status, dict(headers or {}))


async def _answer(site: Site, request: Request) -> str:
    source = request.client.host if request.client is not None else ""
    principal = await _principal(site, request, source)
    try:
        refuse_other_sites(request.headers)
        pairs = [*_pairs(request.scope["query_string"], 414), *_pairs(await _form(request), 413)]
    except Refused as error:
        line = cgi.error_line(error)
        await asyncio.to_thread(site.database.record, principal.actor("api", source), "api", {}, line)
        raise
    here = f"{request.url.scheme}://{request.headers.get('host', 'SERVERNAME')}{API}"
    return await cgi.answer(replace(site, url=here), principal, "api", source, pairs)


async def _principal(site: Site, request: Request, source: str) -> admins.Principal:
    """Give who calls, by HTTP Basic. Raises Refused."""
    if request.scope.get(LOCAL) is True:
        return (await caller_of(site, request)).principal
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return await sign_in(site, *basic(value.strip() if scheme.lower() == "basic" else ""), source)


def _pairs(text: bytes, status_of_long: int) -> Sequence[tuple[str, str]]:
    """Give the arguments of a query or a form; only `&` stands between them. Raises Refused."""
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise Refused("arguments are written as UTF-8 in %xx") from None
    except ValueError:
        raise Refused("more than 100 arguments") from None
    for name, value in pairs:
        if len(value.encode()) > cgi.MOST_VALUE_BYTES or len(name.encode()) > cgi.MOST_VALUE_BYTES:
            raise Refused(f"argument '{name[:64]}' is longer than {cgi.MOST_VALUE_BYTES} octets", status_of_long)
    return pairs


async def _form(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY_BYTES:
            raise Refused(f"the body is longer than {_MOST_BODY_BYTES} octets", 413)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != _FORM:
        raise Refused(f"the body of a POST is of the type {_FORM}")
    return bytes(body)
