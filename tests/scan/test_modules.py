"""The modules spamassassin, clamav and rspamd, which speak with the daemons themselves, against real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hslpy.client.http import AiohttpClient
from hslpy.client.http_contract import HttpSettings
from hslpy.clock import SystemClock
from tests.hooks.world import World
from tests.support.peer import peer
from tests.support.scanners import GTUBE, Clamd, Rspamd, Spamd, message


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def spamd_socket() -> Iterator[Spamd]:
    with Spamd(unix=True) as daemon:
        yield daemon


def echoed(world: World, script: str, content: bytes, **services: object) -> list[str]:
    script = f'$mail = $arguments["mail"]; {script}'
    verdict = world.run("eod", script, world.data(content=content), **services)  # type: ignore[arg-type]
    assert not verdict.failed, world.failure()
    return world.echoed()


def place(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f'"address" => "{host}", "port" => {port}'


SPAMC = 'import {{ spamc }} from "extras://spamassassin"; $r = spamc($arguments["mail"]->toFile(), [{}]); '


@pytest.mark.parametrize(("content", "spam"), [(message(GTUBE), "true"), (message(), "false")])
def test_spamassassin_says_what_it_thinks(world: World, spamd: Spamd, content: bytes, spam: str) -> None:
    shown = 'echo $r["spam"]; echo $r["threshold"]; echo in_array("GTUBE", $r["symbols"]);'
    script = SPAMC.format(place(spamd.address)) + shown
    assert echoed(world, script, content) == [spam, "5", spam]


def test_spamassassin_reports_scores(world: World, spamd: Spamd) -> None:
    options = place(spamd.address) + ', "report" => true, "sender" => "ann@example.org", "user" => "nobody"'
    script = SPAMC.format(options) + 'echo $r["symbols"]["GTUBE"]; echo $r["score"] >= 1000;'
    assert echoed(world, script, message(GTUBE)) == ["1000", "true"]


def test_spamassassin_at_a_path_gives_its_text(world: World, spamd_socket: Spamd) -> None:
    options = f'"path" => "{spamd_socket.address}", "symbols_unparsed" => true'
    script = SPAMC.format(options) + 'echo length($r["symbols"]); echo $r["symbols"][0] =~ "GTUBE";'
    assert echoed(world, script, message(GTUBE)) == ["1", "true"]


def test_spamassassin_fails_as_a_value(world: World) -> None:
    with peer(lambda connection: connection.recv(100)) as port:
        options = f'"port" => {port}'
        assert echoed(world, SPAMC.format(options) + 'echo $r["error"] !== none; echo $r["spam"] ?? "none";', message()) == [
            "true",
            "none",
        ]


def test_spamassassin_takes_no_more_than_its_limit(world: World) -> None:
    script = SPAMC.format('"size_limit" => 10') + 'echo $r["error"];'
    (text,) = echoed(world, script, message())
    assert text.endswith("more than 10")


CLAMAV = 'import {{ clamav }} from "extras://clamav"; echo clamav({}, [{}]);'


def test_clamav_finds_what_it_knows(world: World, clamd: Clamd) -> None:
    address = clamd.address
    options = place(address) if ":" in address else f'"path" => "{address}"'
    mail = '$arguments["mail"]->toFile()'
    assert echoed(world, CLAMAV.format(mail, options), message()) == ['["virus"=>[]]']
    (found,) = echoed(World(world.folder), CLAMAV.format(mail, options), message(Clamd.OFFER_TEXT))
    assert found.startswith('["virus"=>[0=>"')
    whole = f'File::String("{Clamd.HASHED.decode()}")'
    (found,) = echoed(World(world.folder), CLAMAV.format(whole, options + ', "rfc822" => false'), message())
    assert found.startswith('["virus"=>[0=>"')


def test_clamav_without_a_daemon(world: World, tmp_path: Path) -> None:
    (text,) = echoed(world, CLAMAV.format('File::String("x")', f'"path" => "{tmp_path}/none"'), message())
    assert text.startswith('["error"=>"cannot connect to ')


def test_rspamd_scans(world: World, rspamd: Rspamd) -> None:
    host, _, port = rspamd.url.removeprefix("http://").rpartition(":")
    script = f"""import {{ RSPAMD }} from "extras://rspamd";
        $r = RSPAMD(["host" => "{host}", "port" => {port}])->scan($arguments["mail"]->toFile());
        echo $r["action"]; echo $r["symbols"]["HSLPY_OFFER"]["score"];"""

    async def main() -> None:
        http = AiohttpClient(HttpSettings(), SystemClock(), _here, world.log)
        hooks = world.hooks({"eod": script}, http=http)
        await hooks.run(hooks.current, "eod", world.data(content=message(subject=b"An offer")))
        await http.close()

    asyncio.run(main())
    assert world.echoed() == ["add header", "7"]


async def _here(host: str) -> list[str]:
    return [host]
