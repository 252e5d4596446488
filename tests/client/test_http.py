"""The HTTP client against real servers and a real proxy: TLS, deadlines, sizes, redirects, sources, the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.contract import TlsWanted
from hslpy.client.http import AiohttpClient
from hslpy.client.http_background import BackgroundRequests
from hslpy.client.http_contract import Background, HttpFailed, HttpRequest, HttpResponse, HttpSettings, HttpTooLarge
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.on_demand import HttpOnDemand
from hslpy.clock import Clock, ManualClock, SystemClock
from hslpy.errors import MailError
from tests.support import certificates
from tests.support.web_server import Proxy, WebServer, server_context

TRUST = TlsWanted(verify_peer=True)
NAMED = TlsWanted(verify_peer=True, verify_host=True)
Events = list[tuple[str, Mapping[str, object]]]


async def lookup(host: str) -> tuple[str, ...]:
    """mail.example.com and its like are here; nothing.example is nowhere."""
    if host == "nothing.example":
        raise MailError("nothing.example does not exist")
    return ("127.0.0.1",)


def run(
    test: Callable[[AiohttpClient], Awaitable[None]],
    clock: Clock | None = None,
    events: Events | None = None,
    **settings: Any,
) -> None:
    log = events if events is not None else []

    async def main() -> None:
        client = AiohttpClient(
            HttpSettings(**settings), clock or SystemClock(), lookup, lambda event, fields: log.append((event, fields))
        )
        try:
            await test(client)
        finally:
            await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))


async def failure(client: AiohttpClient, request: HttpRequest) -> str:
    with pytest.raises(HttpFailed) as caught:
        await client.request(request)
    return caught.value.message


def test_a_request_arrives_as_it_was_asked_for() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            headers = (("X-Name", "\xc3\xa5"), ("X-Twice", "1"), ("X-Twice", "2"), ("Content-Type", "text/plain"))
            url = f"{server.url}/a%2Fb~%7E?x=1+2&y=\xc3\xa5 z#part"
            got = await client.request(HttpRequest(url, method="PUT", headers=headers, body=b"\0\xff", timeout_s=5))
            (seen,) = server.requests
            assert (seen.method, seen.target, seen.body) == ("PUT", "/a%2Fb~%7E?x=1+2&y=%C3%A5%20z", b"\0\xff")
            assert seen.header("X-Name") == "\xc3\xa5" and seen.header("User-Agent") == "hslpy"
            assert [value for name, value in seen.headers if name == "X-Twice"] == ["1", "2"]
            assert seen.header("Accept-Encoding") is None
            assert got.status == 200 and got.version == "HTTP/1.1" and got.reason == "OK" and got.content.endswith(b"\0\xff")

    run(test)


def test_connections_are_kept() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            for _ in range(3):
                await client.request(HttpRequest(f"{server.url}/"))
            (session,) = client._sessions.values()
            assert session.connector is not None
            assert sum(len(kept) for kept in session.connector._conns.values()) == 1

    run(test)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/", "no URL"),
        ("http://", "no URL"),
        ("http://host:99999/", "no URL"),
        ("http://ho st/", "no URL"),
        ("http://ho%0ast?/", "ho%0ast"),
        ("http://nothing.example/", "does not exist"),
        ("http://127.0.0.1:1/", "127.0.0.1"),
    ],
)
def test_what_cannot_be_reached_fails(url: str, why: str) -> None:
    async def test(client: AiohttpClient) -> None:
        assert why in await failure(client, HttpRequest(url))

    run(test)


def test_chunks_are_put_together_and_headers_are_all_there() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            got = await client.request(HttpRequest(f"{server.url}/chunks"))
            assert got.content == b"part 0;part 1;part 2;"
            assert [value for name, value in got.headers if name == "X-Twice"] == ["one", "two"]

    run(test)


@pytest.mark.parametrize("path", ["/hang", "/slow"])
def test_a_slow_server_is_given_up(path: str) -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            await client.request(HttpRequest(f"{server.url}/"))  # over a kept connection as over a new one
            for _ in range(2):
                assert await failure(client, HttpRequest(server.url + path, timeout_s=0.1)) == "no answer in time"

    run(test)


def test_a_server_that_never_finishes_tls_is_given_up() -> None:
    async def test(client: AiohttpClient) -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await failure(client, HttpRequest(f"https://127.0.0.1:{port}/", connect_timeout_s=0.1)) == "no answer in time"
        server.close()

    run(test)


def test_no_more_is_read_than_may_be_had() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            assert len((await client.request(HttpRequest(f"{server.url}/chunks", most_bytes=21))).content) == 21
            for path, most in (("/chunks", 20), ("/huge", 1 << 20)):
                with pytest.raises(HttpTooLarge) as caught:
                    await client.request(HttpRequest(server.url + path, most_bytes=most))
                assert caught.value.size_bytes == most + 1

    run(test)


@pytest.mark.parametrize(("followed", "status"), [(0, 302), (3, 200), (-1, 200), (10, 200)])
def test_redirects_that_are_followed(followed: int, status: int) -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            got = await client.request(HttpRequest(f"{server.url}/to/3", redirects=followed, method="POST", body=b"x"))
            assert got.status == status
            assert got.content == (b"GET /end " if status == 200 else got.content)

    run(test)


def test_too_many_redirects_fail() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            assert "more redirects" in await failure(client, HttpRequest(f"{server.url}/to/3", redirects=2))

    run(test)


def test_redirects_have_no_more_time_together() -> None:
    async def test(client: AiohttpClient) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.15)
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            assert await failure(client, HttpRequest(url, timeout_s=0.4, redirects=20)) == "no answer in time"

    run(test)


def test_the_source_address() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            for address in ("127.0.0.2", "127.0.0.3"):
                await client.request(HttpRequest(server.url, source_ip=address))
            assert [request.peer_ip for request in server.requests] == ["127.0.0.2", "127.0.0.3"]
            assert await failure(client, HttpRequest(server.url, source_ip="192.0.2.99"))

    run(test)


def test_a_streamed_body_comes_in_chunks_or_with_its_length() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            for headers in ((), (("Content-Length", "7"),)):
                got = await client.request(HttpRequest(server.url, method="POST", body=parts(), headers=headers))
                assert got.content == b"POST / one two"
            chunked, counted = server.requests
            assert chunked.header("Transfer-Encoding") == "chunked" and counted.header("Content-Length") == "7"

    run(test)


@pytest.mark.parametrize(
    ("name", "ca", "tls", "why"),
    [
        ("mail.example.com", True, NAMED, ""),
        ("other.example.com", True, TRUST, ""),
        ("other.example.com", True, NAMED, "certificate"),
        ("mail.example.com", False, TRUST, "certificate"),
        ("other.example.com", False, TlsWanted(), ""),
        ("mail.example.com", True, TlsWanted(verify_peer=True, protocols="TLSv1.2"), ""),
        ("mail.example.com", True, TlsWanted(verify_peer=True, default_ca=True, ciphers="ECDHE+AESGCM"), ""),
        ("mail.example.com", True, TlsWanted(ciphers="NONSENSE"), "TLS cannot be set up"),
    ],
)
def test_certificates(tmp_path: Path, name: str, ca: bool, tls: TlsWanted, why: str) -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer(server_context(tmp_path)) as server:
            request = HttpRequest(f"https://{name}:{server.port}/", tls=tls)
            if why:
                assert why in await failure(client, request)
            else:
                assert (await client.request(request)).status == 200

    (tmp_path / "ca.pem").write_text(certificates.CA)
    run(test, ca_file=str(tmp_path / "ca.pem") if ca else None)


def test_the_client_s_certificate(tmp_path: Path) -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer(server_context(tmp_path, client_ca=True)) as server:
            shown = TlsWanted(client_cert=certificates.KEY + certificates.CERTIFICATE)
            assert (await client.request(HttpRequest(f"{server.url}/", tls=shown))).status == 200
            assert server.requests[0].client_certificate
            await failure(client, HttpRequest(f"{server.url}/", tls=TlsWanted()))

    run(test)


def test_over_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: AiohttpClient) -> None:
        async with Proxy() as proxy, WebServer() as plain, WebServer(server_context(tmp_path)) as secure:
            over = f"http://me:secret@127.0.0.1:{proxy.port}"
            for server in (plain, secure):
                url = f"{server.url.replace('127.0.0.1', 'mail.example.com')}/x"
                assert (await client.request(HttpRequest(url, proxy=over, tls=TlsWanted()))).content == b"GET /x "
            assert [line.split()[0] for line in proxy.lines] == ["GET", "CONNECT"]
            assert proxy.lines[0].startswith("GET http://mail.example.com")
            assert any("Basic bWU6c2VjcmV0" in line for line in proxy.headers)
            await client.request(HttpRequest(plain.url))
            assert len(proxy.lines) == 2  # what the environment says is not read

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    run(test)


# ---- the background -----------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_requests_of_one_queue_are_made_in_order() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            for number in range(5):
                assert client.queue(HttpRequest(f"{server.url}/{number}", method="POST", body=b"x"), Background(queue=6))
            assert server.requests == []
            await until(lambda: len(server.requests) == 5)
            assert [request.target for request in server.requests] == ["/0", "/1", "/2", "/3", "/4"]

    run(test, background_queues=4)


def test_failed_requests_are_tried_again_after_the_delay() -> None:
    clock, events = ManualClock(), []

    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            client.queue(HttpRequest(f"{server.url}/fails/2"), Background(retries=2, delay_s=60))
            client.queue(HttpRequest(f"{server.url}/status/404?secret=1"), Background(retries=1))
            await until(lambda: bool(events))
            assert [r.target for r in server.requests].count("/fails/2") == 1  # and it held up nobody
            for tries in (2, 3):
                clock.advance(59)
                await asyncio.sleep(0.01)
                assert [r.target for r in server.requests].count("/fails/2") == tries - 1
                clock.advance(1)
                await until(lambda tries=tries: [r.target for r in server.requests].count("/fails/2") == tries)
            await until(lambda: client._background.waiting == 0)
            url = f"{server.url}/status/404"
            fields = {"level": "warning", "url": url, "error": "status 404", "tries": 2}
            assert events == [("http.background_failed", fields)]

    run(test, clock, events)


def test_there_is_only_so_much_room() -> None:
    events: Events = []

    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            assert client.queue(HttpRequest(server.url), Background())
            assert not client.queue(HttpRequest(server.url, body=b"x" * 1000), Background())
            assert client.queue(HttpRequest(server.url), Background())
            assert not client.queue(HttpRequest(server.url), Background())
            await until(lambda: client._background.waiting == 0)
            assert client.queue(HttpRequest(server.url), Background())
            await until(lambda: client._background.waiting == 0)

    run(test, None, events, background_requests=2, background_bytes=1000)
    assert [event for event, _ in events] == ["http.background_full"] * 2


def test_a_stopping_server_finishes_what_it_has() -> None:
    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            client.queue(HttpRequest(f"{server.url}/a"), Background())
            client.queue(HttpRequest(f"{server.url}/b"), Background())
            await client.close()
            assert [request.target for request in server.requests] == ["/a", "/b"]
            assert not client.queue(HttpRequest(server.url), Background())

    run(test)


def test_what_is_lost_at_the_stop_is_said() -> None:
    events: Events = []

    async def test(client: AiohttpClient) -> None:
        async with WebServer() as server:
            client.queue(HttpRequest(f"{server.url}/hang"), Background())
            client.queue(HttpRequest(f"{server.url}/after"), Background())
            await until(lambda: bool(server.requests))
            await client.close()
            lost = {"level": "error", "count": 2, "urls": [f"{server.url}/hang", f"{server.url}/after"]}
            assert events == [("http.background_lost", lost)] and len(server.requests) == 1

    run(test, None, events, drain_s=0.01)


def test_a_client_on_demand_is_made_once() -> None:
    made: list[ScriptedHttp] = []

    def make() -> ScriptedHttp:
        made.append(ScriptedHttp([("*", None)]))
        return made[-1]

    async def main() -> None:
        await HttpOnDemand(make).close()
        client = HttpOnDemand(make)
        for _ in range(2):
            with pytest.raises(HttpFailed):
                await client.request(HttpRequest("http://a.example/"))
        assert client.queue(HttpRequest("http://a.example/"), Background())
        await client.close()

    asyncio.run(main())
    assert len(made) == 1


def test_a_request_that_fails_oddly_holds_up_none_behind_it() -> None:
    made = 0

    async def send(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        if made == 1:
            raise RuntimeError("odd")
        return HttpResponse(200, b"")

    async def main() -> Events:
        events: Events = []
        queues = BackgroundRequests(send, HttpSettings(), SystemClock(), lambda *event: events.append(event))
        for _ in range(3):
            assert queues.put(HttpRequest("http://a.example/"), Background(queue=1))
        await queues.close()
        assert queues.waiting == 0
        return events

    ((event, fields),) = asyncio.run(main())
    assert made == 3 and event == "http.background_failed" and fields["error"] == "RuntimeError: odd"
