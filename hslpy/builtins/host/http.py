"""http(): requests over HTTP and HTTPS. In: a URL, options, values, a body. Out: what came back.

Connections and the queues of the background are the client's. Source: the HSL manual, http(), 2015 to 2019.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any
from urllib.parse import quote_from_bytes

from hslpy.builtins.core.arguments import as_bytes, as_text, callback_error
from hslpy.builtins.host.options import ARRAY, BOOLEAN, NUMBER, TEXT, read_integer, read_options, read_seconds
from hslpy.builtins.host.peers import SOURCE, TLS, read_source, read_tls, read_wait
from hslpy.client.http_contract import Background, HttpFailed, HttpRequest, HttpResponse, HttpTooLarge
from hslpy.errors import ScriptError
from hslpy.lang.conversions import to_string
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value, type_name

TOPIC = Topic("HTTP")

_OLD_NAMES = {f"ssl_{name}": f"tls_{name}" for name in ("verify_peer", "verify_host", "default_ca", "client_cert")}
_TLS = {**{name: TLS[name] for name in ("tls_verify_host", "tls_default_ca", "tls_client_cert")}, "tls_verify_peer": BOOLEAN}
_OPTIONS = {
    "extended_result": BOOLEAN,
    "connect_timeout": NUMBER,
    "timeout": NUMBER,
    "max_file_size": NUMBER,
    **SOURCE,
    "method": TEXT,
    "headers": ARRAY,
    "response_headers": BOOLEAN,
    "redirects": NUMBER,
    **_TLS,
    **{old: _TLS[new] for old, new in _OLD_NAMES.items()},
    "background": BOOLEAN,
    "background_hash": NUMBER,
    "background_retry_count": NUMBER,
    "background_retry_delay": NUMBER,
    "proxy": TEXT,
    "username": TEXT,
    "password": TEXT,
    "encoder": TEXT,
}
_ENCODERS = ("url", "multipart", "base64")
_PLACEHOLDER = re.compile(r"\$([1-9][0-9]*)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FORM = "application/x-www-form-urlencoded"
_READ_BYTES = 16_384  # what a callback is asked for at a time, as libcurl does
_VALUE_UNITS = 5  # of a value among those of a form, a URL or the headers
_MOST_HEADERS = 1000  # ten times what servers take
_PROXY_PORT = 1080  # libcurl's, CURLOPT_PROXY


@TOPIC.builtin(
    "http(url: string, [options: array, [get: array, [post: string | array | function | none]]])"
    " -> string | array | boolean | none",
    effect=Effect.IO,
    examples=[
        'http("https://api.example.com/users/$1", ["timeout" => 5], [$name]);',
        '$result = http("https://api.example.com/", ["extended_result" => true, "headers" => ["Accept: text/plain"]]);',
        'http("https://log.example.com/", ["background" => true, "background_retry_count" => 3], [], json_encode([1]));',
    ],
)
def http(
    call: Run, url: str, options: Array | None = None, get: Array | None = None, post: Value = None
) -> str | Array | bool | None:
    """Make a request and give the content of the response; none when it fails, or its status is not 2xx.

    `$1`, `$2` ... in the URL are replaced by the values of `get`, percent-encoded. `post` is the body: a string as it is,
    an array as a form, or a function that is called with a number of bytes until it gives "" or none.

    | option | default | |
    |---|---|---|
    | `extended_result` | false | give ["status", "content"] whatever the status |
    | `response_headers` | false | put status line and header before the content, whatever the status |
    | `connect_timeout` | 10 | seconds for name, connection and TLS |
    | `timeout` | none | seconds for all that follows |
    | `max_file_size` | none | bytes of content above which the request fails |
    | `method` | GET, with `post` POST | |
    | `headers` | [] | texts as in `Accept: text/plain`; `Accept:` sends no such header, `Accept;` an empty one |
    | `redirects` | 0 | how many to follow, -1 for any number (50) |
    | `username`, `password` | none | basic authentication |
    | `sourceip`, `sourceipid` | the system's | the address to leave from: an IP address, or a configured source |
    | `proxy` | none | URL of an HTTP proxy; those of the environment are not used |
    | `encoder` | url | of an array in `post`: `url` or `multipart`; of any other body `base64` |
    | `tls_verify_peer` | true | want a certificate of a trusted authority |
    | `tls_verify_host` | false | and of the host's name |
    | `tls_default_ca` | false | trust the system's authorities, also where the setting `http.ca_file` has its own |
    | `tls_client_cert` | none | `pki:` and the id of a [[pki]] table, ["x509", "privatekey", "chain"], or PEM with both |
    | `background` | false | give true at once, none when there is no room; the request is made later |
    | `background_hash` | 0 | the queue in the background; requests of one queue are made in order |
    | `background_retry_count` | 0 | tries after the first one failed (no response, or a status other than 2xx) |
    | `background_retry_delay` | 0 | seconds before each of these |

    The `tls_` options may be written `ssl_`. Why a request failed is in the log, as `hooks.http_failed`.
    """
    given = read_options("http", options, _OPTIONS)
    for old, new in _OLD_NAMES.items():
        if old in given:
            given.setdefault(new, given[old])
    request = _request(call, url, given, get, post)
    if given.get("background"):
        return _later(call, request, given, post)
    try:
        response = _perform(call, request, post, given.get("encoder") == "base64")
    except HttpFailed as failure:
        if isinstance(failure, HttpTooLarge) and request.most_bytes == call.limits.string_bytes:
            call.reserve_text(failure.size_bytes)  # the run's own limit, not the script's
        call.host.warn("hooks.http_failed", url=request.shown_url, error=failure.message)
        return None
    return _result(call, response, given)


def _result(call: Run, response: HttpResponse, given: dict[str, Value]) -> str | Array | None:
    extended, with_header = given.get("extended_result"), given.get("response_headers")
    if not response.is_success and not extended and not with_header:
        return None
    call.reserve_text(len(response.content))
    content = as_text(response.content)
    if with_header:
        lines = [f"{response.version} {response.status} {response.reason}".rstrip()]
        lines += [f"{name}: {value}" for name, value in response.headers]
        content = "\r\n".join(lines) + "\r\n\r\n" + content
    return Array.mapping({"status": float(response.status), "content": content}) if extended else content


# ---- the request --------------------------------------------------------------------------------


def _request(call: Run, url: str, given: dict[str, Value], get: Array | None, post: Value) -> HttpRequest:
    headers, without = _headers(call, given)
    encoder = given.get("encoder", "url")
    if encoder not in _ENCODERS:
        raise ScriptError("R302", f'http() wants `encoder` as {", ".join(_ENCODERS)}, got "{encoder[:20]}"')
    body, kind = _body(call, post, encoder)
    named = {name.lower() for name, _ in headers} | without
    if body is not None or post is not None:
        headers += [] if "content-type" in named else [("Content-Type", kind)]
    if "accept" not in named:
        headers.append(("Accept", "*/*"))
    if "username" in given and "authorization" not in named:
        pair = f"{given['username']}:{given.get('password', '')}"
        headers.append(("Authorization", "Basic " + base64.b64encode(as_bytes(pair)).decode("ascii")))
    method = given.get("method", "GET" if post is None else "POST")
    if not _TOKEN.fullmatch(method):
        raise ScriptError("R302", f'http() wants a method such as GET, got "{method[:20]}"')
    most = read_integer("http", "max_file_size", given.get("max_file_size", 0.0), 0, 1 << 53)
    return HttpRequest(
        url=_url(call, url, get),
        method=method,
        headers=tuple(headers),
        without=frozenset(without),
        body=body,
        connect_timeout_s=read_wait("http", "connect_timeout", given, 10.0),
        timeout_s=read_wait("http", "timeout", given, None),
        most_bytes=min(most or call.limits.string_bytes, call.limits.string_bytes),
        redirects=read_integer("http", "redirects", given.get("redirects", 0.0), -1, 1000),
        proxy=_proxy(given.get("proxy", "")),
        source_ip=read_source(call, "http", given),
        tls=read_tls(call, "http", given, verify_peer=given.get("tls_verify_peer", True)),
    )


def _url(call: Run, url: str, get: Array | None) -> str:
    values = [_encoded(call, value) for value in get.items.values()] if get is not None else []

    def value_of(found: re.Match[str]) -> str:
        number = int(found[1])
        return values[number - 1] if number <= len(values) else found[0]

    url = _PLACEHOLDER.sub(value_of, url) if values else url
    return url if _SCHEME.match(url) else f"http://{url}"


def _encoded(call: Run, value: Value) -> str:
    return _quoted(call, _text(call, value))


def _text(call: Run, value: Value) -> str:
    if value.__class__ is Array or type_name(value) in ("function", "object", "resource"):
        raise ScriptError("R302", f"http() wants texts and numbers to send, got {type_name(value)}")
    call.charge(_VALUE_UNITS)
    return "" if value is None else to_string(call, value)


def _headers(call: Run, given: dict[str, Value]) -> tuple[list[tuple[str, str]], set[str]]:
    """Give the headers to send, and the names (lower case) of those that the client must not add."""
    headers: list[tuple[str, str]] = []
    without: set[str] = set()
    listed = given.get("headers")
    if listed is not None and len(listed) > _MOST_HEADERS:
        raise ScriptError("R302", f"http() sends at most {_MOST_HEADERS:,} headers, got {len(listed):,}")
    for key, item in listed.items.items() if listed is not None else ():
        line = f"{key}: {_text(call, item)}" if key.__class__ is str else _text(call, item)
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon and line.endswith(";"):
            name, colon = line[:-1], ";"
        if not colon or not _TOKEN.fullmatch(name.rstrip(" \t")):
            raise ScriptError("R302", f'http() wants headers as in "Accept: text/plain", got "{line[:60]}"')
        if any(ch in value for ch in "\r\n\0"):
            raise ScriptError("R302", f"the header `{name[:60]}` given to http() holds a line end")
        name = name.rstrip(" \t")
        if value or colon == ";":
            headers.append((name, value))
        else:
            without.add(name.lower())
    return headers, without


def _proxy(text: str) -> str | None:
    if not text:
        return None
    url = text if _SCHEME.match(text) else f"http://{text}"
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise ScriptError("R302", f"http() goes over HTTP proxies only, got `{scheme[:20]}://`")
    authority, slash, path = rest.partition("/")
    if scheme.lower() == "http" and not re.search(r":[0-9]+$", authority.rpartition("@")[2]):
        authority = f"{authority}:{_PROXY_PORT}"
    return f"{scheme}://{authority}{slash}{path}"


# ---- bodies -------------------------------------------------------------------------------------


def _body(call: Run, post: Value, encoder: str) -> tuple[bytes | None, str]:
    """Give the body and its type; None for a body that a callback gives, and for none."""
    if post.__class__ is str:
        call.reserve(len(post))
        return base64.b64encode(as_bytes(post)) if encoder == "base64" else as_bytes(post), _FORM
    if post.__class__ is not Array:
        return None, _FORM
    pairs = [
        (to_string(call, key) if key.__class__ is str else str(key), _text(call, value))
        for key, values in post.items.items()
        for value in (values.values() if values.__class__ is Array else (values,))
    ]
    call.reserve(3 * sum(len(name) + len(value) for name, value in pairs))
    if encoder != "multipart":
        return "&".join([f"{_quoted(call, name)}={_quoted(call, value)}" for name, value in pairs]).encode("ascii"), _FORM
    boundary = f"form-{call.random.getrandbits(128):032x}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_in_quotes(call, name)}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    return as_bytes(f"{''.join(parts)}--{boundary}--\r\n"), f"multipart/form-data; boundary={boundary}"


def _quoted(call: Run, text: str) -> str:
    call.charge(2 + (len(text) >> 6))
    return quote_from_bytes(as_bytes(text), safe="")


def _in_quotes(call: Run, name: str) -> str:
    """Give a field's name as browsers write it. Source: the WHATWG HTML standard, multipart/form-data."""
    call.charge(3)
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


class _Feed:
    """A body that a script's function gives, asked for by the client and given by the run, which alone may call it."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[asyncio.Future[bytes]] = asyncio.Queue()

    async def parts(self) -> AsyncIterator[bytes]:
        while True:
            wanted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._asked.put_nowait(wanted)
            part = await wanted
            if not part:
                return
            yield part

    async def next(self, exchange: asyncio.Task[Any]) -> asyncio.Future[bytes] | None:
        """Give the future that wants the next part, None once the exchange is over."""
        asked = asyncio.ensure_future(self._asked.get())
        await asyncio.wait({asked, exchange}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        asked.cancel()
        return None


def _part(call: Run, post: Value) -> bytes:
    part = call.invoke(post, float(_READ_BYTES))
    if part is None:
        return b""
    if part.__class__ is not str:
        raise callback_error("http", "a string", part)
    call.charge(1 + (len(part) >> 10))
    return as_bytes(part)


def _perform(call: Run, request: HttpRequest, post: Value, encode: bool) -> HttpResponse:
    """Give the response; meanwhile the run calls the function that gives the body, where there is one."""
    client = call.host.services.http
    if type_name(post) != "function":
        response: HttpResponse = call.wait(client.request(request))
        return response
    if encode:
        return _perform(call, _with_body(request, base64.b64encode(_whole(call, post))), None, False)
    feed = _Feed()
    exchange: asyncio.Task[HttpResponse] = call.wait(_started(client.request(_with_body(request, feed.parts()))))
    try:
        while (wanted := call.wait(feed.next(exchange))) is not None:
            part = _part(call, post)
            if not wanted.done():
                wanted.set_result(part)
        return exchange.result()
    finally:
        exchange.cancel()


async def _started(awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(awaitable)


def _whole(call: Run, post: Value) -> bytes:
    """Give all that the function gives: what is sent later cannot ask for it then."""
    parts: list[bytes] = []
    while part := _part(call, post):
        call.reserve(len(part))
        parts.append(part)
    return b"".join(parts)


def _with_body(request: HttpRequest, body: bytes | AsyncIterator[bytes]) -> HttpRequest:
    return replace(request, body=body)


def _later(call: Run, request: HttpRequest, given: dict[str, Value], post: Value) -> bool | None:
    if type_name(post) == "function":
        body = _whole(call, post)
        request = _with_body(request, base64.b64encode(body) if given.get("encoder") == "base64" else body)
    background = Background(
        queue=read_integer("http", "background_hash", given.get("background_hash", 0.0), 0, 1 << 53),
        retries=read_integer("http", "background_retry_count", given.get("background_retry_count", 0.0), 0, 1000),
        delay_s=read_seconds("http", "background_retry_delay", given.get("background_retry_delay", 0.0)),
    )
    return True if call.host.services.http.queue(request, background) else None
