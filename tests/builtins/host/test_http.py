"""http() in hooks: what its options and arguments ask of a real server, and what scripts get back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.http import AiohttpClient
from hslpy.client.http_contract import HttpResponse, HttpSettings
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.sockets import KeyPair, SocketSettings
from hslpy.clock import SystemClock
from hslpy.lang.run import Limits
from tests.hooks.world import World
from tests.support import certificates
from tests.support.web_server import Request, WebServer, server_context


async def _here(host: str) -> tuple[str, ...]:
    return ("127.0.0.1",)


def on_server(
    world: World, script: str, limits: Limits | None = None, folder: Path | None = None, **settings: Any
) -> list[Request]:
    """Run the script with `$url` as a real server's; give the requests that this has had."""

    async def main() -> list[Request]:
        async with WebServer(server_context(folder) if folder else None) as server:
            client = AiohttpClient(HttpSettings(**settings), SystemClock(), _here, world.log)
            hooks = world.hooks({"connect": f'$url = "{server.url}"; $port = {server.port}; {script}'}, limits, http=client)
            await hooks.run(hooks.current, "connect", world.event("connect"))
            await client.close()
            return server.requests

    return asyncio.run(asyncio.wait_for(main(), 60))


def scripted(world: World, script: str, **services: Any) -> ScriptedHttp:
    http = ScriptedHttp([("*", HttpResponse(200, b"ok"))])
    world.run("connect", script, http=http, **services)
    return http


def test_the_url_takes_values(world: World) -> None:
    cases = {
        'http("$url/$1?b=$2", [], ["a b/c", "\\xc3\\xa5&="])': "/a%20b%2Fc?b=%C3%A5%26%3D",
        'http("$url/$1$2$3", [], [1.5, "x"])': "/1.5x$3",
        'http("$url/$10-$1", [], ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])': "/j-a",
        'http("$url/$1")': "/$1",
        'http("$url/$1", [], ["name" => "v"])': "/v",
        'http("$url/$0")': "/$0",
        'http("127.0.0.1:$port/bare")': "/bare",
    }
    script = "".join(f"echo {call};" for call in cases)
    assert [request.target for request in on_server(world, script)] == list(cases.values())
    assert world.echoed()[0] == "GET /a%20b%2Fc?b=%C3%A5%26%3D "


def test_what_comes_back(world: World) -> None:
    on_server(
        world,
        """
        echo http("$url/status/404");
        echo http("$url/status/302");
        echo http("$url/status/299");
        echo http("$url/status/404", ["extended_result" => true]);
        echo http("$url/status/204", ["extended_result" => true])["content"] === "";
        $all = http("$url/chunks", ["response_headers" => true]);
        echo $all =~ "^HTTP/1.1 200 OK\\r\\n" and $all =~ "\\r\\nX-Twice: one\\r\\nX-Twice: two\\r\\n";
        echo $all =~ "\\r\\n\\r\\npart 0;part 1;part 2;$";
        echo http("$url/status/500", ["response_headers" => true])[0:12];
        echo http("http://127.0.0.1:1/");
        echo http("http://127.0.0.1:1/", ["extended_result" => true]);
        echo http("gopher://a/");
        """,
    )
    assert world.echoed() == [
        "none",
        "none",
        "the reason why",
        '["status"=>404,"content"=>"the reason why"]',
        "true",
        "true",
        "true",
        "HTTP/1.1 500",
        "none",
        "none",
        "none",
    ]
    failed = [(fields["url"], fields["session"]) for fields in world.logged("hooks.http_failed")]
    assert failed == [("http://127.0.0.1:1/", "conn-1")] * 2 + [("gopher://a/", "conn-1")]


def test_headers(world: World) -> None:
    (seen,) = on_server(
        world,
        """
        http($url, ["headers" => ["Host: other.example", "X-A:b", "Expect: ", "Accept:", "X-Empty;", "X-N" => 5,
            "User-Agent: me/1"]], [], "x");
        """,
    )
    assert [pair for pair in seen.headers if pair[0].startswith("X-")] == [("X-A", "b"), ("X-Empty", ""), ("X-N", "5")]
    assert (seen.header("Host"), seen.header("User-Agent"), seen.header("Accept")) == ("other.example", "me/1", None)
    assert seen.header("Content-Type") == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("call", "method", "body", "kind"),
    [
        ("http($url)", "GET", b"", None),
        ('http($url, ["method" => "DELETE"])', "DELETE", b"", None),
        ("http($url, [], [], none)", "GET", b"", None),
        ('http($url, [], [], "\\xff")', "POST", b"\xff", "application/x-www-form-urlencoded"),
        ('http($url, [], [], "")', "POST", b"", "application/x-www-form-urlencoded"),
        ('http($url, ["method" => "PUT", "headers" => ["content-type: a/b"]], [], "x")', "PUT", b"x", "a/b"),
        (
            'http($url, [], [], ["a b" => "c&d", "n" => 1.5, "l" => ["x", "y"], 7])',
            "POST",
            b"a%20b=c%26d&n=1.5&l=x&l=y&0=7",
            "application/x-www-form-urlencoded",
        ),
        ('http($url, ["encoder" => "base64"], [], "data")', "POST", b"ZGF0YQ==", "application/x-www-form-urlencoded"),
    ],
)
def test_methods_and_bodies(world: World, call: str, method: str, body: bytes, kind: str | None) -> None:
    (seen,) = on_server(world, f"{call};")
    assert (seen.method, seen.body, seen.header("Content-Type")) == (method, body, kind)


def test_a_multipart_form(world: World) -> None:
    (seen,) = on_server(world, 'http($url, ["encoder" => "multipart"], [], ["a" => "1\\r\\n2", "q\\"" => "\\xff"]);')
    kind, _, boundary = (seen.header("Content-Type") or "").partition("; boundary=")
    assert kind == "multipart/form-data"
    head = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
    assert seen.body == (head + b'"a"\r\n\r\n1\r\n2\r\n' + head + b'"q%22"\r\n\r\n\xff\r\n' + f"--{boundary}--\r\n".encode())


def test_a_function_gives_the_body(world: World) -> None:
    requests = on_server(
        world,
        """
        class Parts { constructor() { $this->left = ["one ", "two ", "three"]; }
            function next($most) { if (length($this->left) == 0) return "";
                $part = $this->left[0]; $this->left = $this->left[1:]; dns_query("x.example"); return "$part"; } }
        function body() { $parts = Parts(); return function ($most) closure ($parts) { return $parts->next($most); }; }
        echo http("$url/", [], [], body());
        echo http("$url/", ["headers" => ["Content-Length: 13", "Transfer-Encoding: "]], [], body());
        echo http("$url/", [], [], function ($most) { return none; });
        echo http("$url/", ["encoder" => "base64"], [], body());
        """.replace('dns_query("x.example"); ', 'rate("a", "b", 0, 1); '),
    )
    assert world.echoed() == ["POST / one two three", "POST / one two three", "POST / ", "POST / b25lIHR3byB0aHJlZQ=="]
    assert [request.header("Transfer-Encoding") for request in requests] == ["chunked", None, "chunked", None]
    assert requests[1].header("Content-Length") == "13"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("function ($most) { return 5; }", "R108"),
        ('function ($most) { throw "no"; }', "R107"),
        ("function () { return 5; }", "R102"),
    ],
)
def test_a_function_that_fails_ends_the_request(world: World, body: str, code: str) -> None:
    on_server(world, f'http("$url/", [], [], {body});')
    assert code in world.failure()


def test_a_server_that_does_not_wait_for_the_body(world: World) -> None:
    on_server(
        world,
        """
        $n = 0;
        echo http("http://127.0.0.1:1/", [], [], function ($most) { global $n; $n += 1; return "x"; });
        echo $n;
        echo http("$url/hang", ["timeout" => 0.2], [], function ($most) { return ""; });
        """,
    )
    assert world.echoed() == ["none", "0", "none"]


def test_sizes(world: World) -> None:
    on_server(world, 'echo http("$url/chunks", ["max_file_size" => 20]); echo http("$url/chunks", ["max_file_size" => 21]);')
    assert world.echoed() == ["none", "part 0;part 1;part 2;"]
    on_server(world, 'http("$url/huge");', Limits(string_bytes=1 << 20))
    assert "R207" in world.failure()


def test_the_run_s_time_ends_a_request_without_a_timeout(world: World) -> None:
    on_server(world, 'http("$url/hang");', Limits(wall_s=0.2))
    assert "R204" in world.failure()


def test_redirects_sources_and_logins(world: World) -> None:
    requests = on_server(
        world,
        """
        echo http("$url/to/2");
        echo http("$url/to/2", ["redirects" => 1]);
        echo http("$url/to/2", ["redirects" => 2]);
        echo http("$url/to/2", ["redirects" => -1]);
        http("$url/s", ["sourceip" => "127.0.0.5", "username" => "me", "password" => "p:w"]);
        echo http("$url/s", ["sourceip" => "netaddr:1"]);
        """,
    )
    assert world.echoed() == ["none", "none", "GET /end ", "GET /end ", "none"]
    assert (requests[-1].peer_ip, requests[-1].header("Authorization")) == ("127.0.0.5", "Basic bWU6cDp3")


@pytest.mark.parametrize(
    ("options", "works"),
    [
        ("[]", False),
        ('["tls_verify_peer" => false]', True),
        ('["ssl_verify_peer" => false]', True),
    ],
)
def test_an_unknown_authority(world: World, tmp_path: Path, options: str, works: bool) -> None:
    on_server(world, f'echo is_string(http("https://mail.example.com:$port/", {options}));', folder=tmp_path)
    assert world.echoed() == ["true" if works else "false"]


def test_a_trusted_authority(world: World, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(certificates.CA)
    script = """
        foreach (["mail", "other"] as $host)
            foreach ([[], ["tls_verify_host" => true], ["ssl_verify_host" => true], ["tls_default_ca" => true]] as $options)
                echo $host, is_string(http("https://$host.example.com:$port/", $options));
    """.replace("echo $host, ", 'echo "$host ".')
    on_server(world, script, folder=tmp_path, ca_file=str(tmp_path / "ca.pem"))
    results = [text.split()[1] for text in world.echoed()]
    assert results == ["true"] * 4 + ["true", "false", "false", "true"]


def test_the_background(world: World) -> None:
    requests = on_server(
        world,
        """
        $n = 2;
        echo http("$url/a", ["background" => true, "background_hash" => 7, "background_retry_count" => 1], [], "x");
        echo http("$url/b", ["background" => true, "extended_result" => true], [], function ($most) {
            global $n; $n -= 1; return $n >= 0 ? "part" : ""; });
        """,
    )
    assert world.echoed() == ["true", "true"]
    assert sorted((request.target, request.body) for request in requests) == [("/a", b"x"), ("/b", b"partpart")]
    on_server(world, 'echo http("$url/a", ["background" => true]);', background_requests=0)
    assert world.echoed()[2:] == ["none"]


def test_what_the_options_ask(world: World) -> None:
    http = scripted(
        world,
        """
        http("http://a/", ["connect_timeout" => 3, "timeout" => 0, "proxy" => "p.example:31", "sourceipid" => "netaddr:2"]);
        http("http://a/", ["proxy" => "p.example", "timeout" => 2.5, "ssl_default_ca" => true]);
        http("http://a/", ["proxy" => "", "connect_timeout" => 0]);
        """,
    )
    first, second, third = (seen.request for seen in http.requests)
    assert (first.connect_timeout_s, first.timeout_s) == (3, None)
    assert (first.proxy, first.source_ip) == ("http://p.example:31", "192.0.2.2")
    assert (second.proxy, second.timeout_s, second.connect_timeout_s) == ("http://p.example:1080", 2.5, 10)
    assert (third.proxy, third.connect_timeout_s) == (None, None)
    assert second.tls.default_ca and second.tls.verify_peer and not second.tls.verify_host


def test_a_client_certificate(world: World, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text(certificates.CERTIFICATE)
    (tmp_path / "k.pem").write_text(certificates.KEY)
    sockets = SocketSettings(key_pairs=(KeyPair("1", tmp_path / "k.pem", tmp_path / "c.pem"),))
    pem = certificates.CERTIFICATE + certificates.KEY
    http = scripted(
        world,
        f"""
        $pem = ''{certificates.CERTIFICATE}''; $key = ''{certificates.KEY}'';
        http("https://a/", ["tls_client_cert" => ''{pem}'']);
        http("https://a/", ["tls_client_cert" => "pki:1"]);
        http("https://a/", ["tls_client_cert" => ["x509" => X509::String($pem), "privatekey" => $key]]);
        http("https://a/", ["tls_client_cert" => ["x509" => $pem, "privatekey" => ec_privatekey($key), "chain" => [$pem]]]);
        """,
        sockets=sockets,
    )
    texts = [seen.request.tls.client_cert for seen in http.requests]
    assert texts[0] == texts[1] == texts[2] and texts[3].count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ('["time_out" => 1]', "did you mean `timeout`"),
        ('["timeout" => -1]', "R302"),
        ('["timeout" => "5"]', "wants number"),
        ('["redirects" => 0.5]', "R302"),
        ('["method" => "GET /"]', "R302"),
        ('["headers" => ["no colon"]]', "R302"),
        ('["headers" => ["X-A: b\\r\\nX-B: c"]]', "line end"),
        ('["headers" => [[]]]', "got array"),
        ('["encoder" => "xml"]', "url, multipart, base64"),
        ('["proxy" => "socks5://p"]', "HTTP proxies only"),
        ('["sourceip" => "netaddr:9"]', "R306"),
        ('["tls_client_cert" => "pki:1"]', "[[pki]]"),
        ('["tls_client_cert" => ["x509" => "x"]]', "R302"),
        ('["background" => true, "background_retry_count" => -1]', "R302"),
    ],
)
def test_wrong_options(world: World, options: str, error: str) -> None:
    scripted(world, f'http("http://a/", {options});')
    assert error in world.failure()


@pytest.mark.parametrize("rest", ["[function () {}]", '[], ["a" => [[]]]', '[], ["a" => function () {}]'])
def test_what_cannot_be_sent(world: World, rest: str) -> None:
    scripted(world, f'http("http://a/$1", [], {rest});')
    assert "R302" in world.failure()


def test_a_run_that_is_cancelled_ends_its_request(world: World) -> None:
    ended = asyncio.Event()

    class Endless(ScriptedHttp):
        async def request(self, request: Any) -> HttpResponse:
            try:
                async for _ in request.body:
                    await asyncio.sleep(0)
                await asyncio.sleep(3600)
            finally:
                ended.set()
            raise AssertionError

    async def main() -> None:
        hooks = world.hooks({"connect": 'http("http://a/", [], [], function ($most) { return ""; });'}, http=Endless())
        running = asyncio.ensure_future(hooks.run(hooks.current, "connect", world.event("connect")))
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait({running})
        await asyncio.wait_for(ended.wait(), 60)

    asyncio.run(main())


def test_what_many_values_cost_is_counted(world: World) -> None:
    for call in ('http("$1", [], $many)', 'http("a", [], [], $many)', 'http("a", ["encoder" => "multipart"], [], $many)'):
        world.events.clear()
        scripted(world, f"$many = range(1, 20000); {call};")
        assert not world.logged("hooks.script_error")
        scripted(world, f"$many = range(1, 20000); {call};", limits=Limits(steps=60_000))
        assert "R201" in world.failure()
    world.events.clear()
    scripted(world, 'http("a", ["headers" => explode(",", str_repeat("a: b,", 1000) . "a: b")]);')
    assert "at most 1,000 headers" in world.failure()


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush@[::1/x?hush",
        "http://me:hush@127.0.0.1:x/?hush",
        "ftp://me:hush@host/",
        "http://me:hush@127.0.0.1:99999/",
    ],
)
def test_what_is_no_url_fails_without_telling_its_password(world: World, url: str) -> None:
    on_server(world, f'echo http("{url}") === none;')
    assert world.echoed() == ["true"]
    (failed,) = world.logged("hooks.http_failed")
    assert "hush" not in str(failed) and "is no URL" in str(failed["error"])
