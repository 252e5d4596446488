"""What holds whatever a script does: relaying, errors, endless scripts, reload, scanners and counters that are real."""

from __future__ import annotations

import asyncio
import os
import time
from base64 import b64encode

import pytest

from tests.scenarios.harness import SEED_HOOKS, Client, server
from tests.support.redis_server import RedisServer
from tests.support.scanners import GTUBE, Rspamd, Spamd
from tests.support.yardstick import assert_within


def hook(folder, name: str, text: str) -> str:
    (folder / f"{name}.hsl").write_text(text)
    return f'{name} = "{folder}/{name}.hsl"\n'


def test_a_stranger_cannot_relay_whatever_the_script_says(tmp_path):
    async def scenario():
        settings = '[smtp]\nrelay_networks = ["127.0.0.2/32"]\n[hooks]\n' + hook(tmp_path, "rcptto", "Accept();")
        async with server(tmp_path, settings, deliver=False) as s:
            stranger = await s.client("127.0.0.1")
            assert (await stranger.send("a@example.com", "b@example.net")).startswith("550 5.7.1 ")
            customer = await s.client("127.0.0.2")
            assert (await customer.send("a@example.com", "b@example.net")).startswith("250 2.0.0 ")
            assert len(s.app.queue) == 1

    asyncio.run(scenario())


def test_a_script_error_is_a_bland_4xx_and_a_log_record_with_the_stack(tmp_path, caplog):
    script = "function price($x) {\n    return 10 / $x;\n}\necho price(0);\n"

    async def scenario():
        async with server(tmp_path, "[hooks]\n" + hook(tmp_path, "rcptto", script), deliver=False) as s:
            client = await s.client()
            reply = await client.send("a@example.com", "b@example.net")
            assert reply.startswith("45") and "zero" not in reply and "hsl" not in reply and str(tmp_path) not in reply
            assert len(s.app.queue) == 0
            told = "\n".join(str(fields) for _, fields in s.logged) + caplog.text
            assert "division by zero" in told.lower() and "rcptto.hsl:2" in told and "rcptto.hsl:4" in told

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "script",
    [
        "forever { }",
        "$i = 0; while (true) { $i += 1; }",
        '$s = "x"; forever { $s = $s . $s; }',
        "$a = []; forever { $a[] = [1, 2, 3]; }",
        "function f($n) { return f($n + 1); } f(0);",
        'pcre_match("^(?:a|aa)+$", str_repeat("a", 60) . "b");',
        'if (str_repeat("a", 60) . "b" =~ "^(?:a|aa)+$") { }',
        '$x = str_repeat("x", 2 * 1024 * 1024 * 1024);',
        "$x = array_range(0, 1000000000);",
    ],
)
def test_no_script_keeps_other_sessions_waiting(tmp_path, script):
    """While one session's script misbehaves, another's commands are answered, and the server goes on."""
    guard = 'if ($senderdomain == "bad.example") { ' + script + " }"

    async def scenario():
        settings = "[hooks.limits]\ncpu_s = 1\nwall_s = 3\nregex_s = 0.3\n[hooks]\n" + hook(tmp_path, "rcptto", guard)
        async with server(tmp_path, settings, deliver=False) as s:
            bad, good = await s.client(), await s.client()
            await bad.say("EHLO a")
            await bad.say("MAIL FROM:<a@bad.example>")
            await good.say("EHLO b")
            waiting = asyncio.create_task(bad.say("RCPT TO:<b@example.net>"))
            longest_s = 0.0
            while not waiting.done():
                before = time.thread_time()
                await asyncio.sleep(0)
                longest_s = max(longest_s, time.thread_time() - before)
                assert (await good.say("NOOP")).startswith("250")
            assert (await waiting).startswith("4")
            assert (await good.send("a@good.example", "b@example.net")).startswith("250")
            return longest_s

    assert_within(60, lambda: asyncio.run(scenario()))


def test_changed_scripts_are_taken_up_as_a_set_and_broken_ones_are_not(tmp_path):
    async def scenario():
        names = hook(tmp_path, "mailfrom", 'Reject("one");') + hook(tmp_path, "rcptto", 'Reject("one");')
        async with server(tmp_path, f"[hooks]\nreload_check_s = 0\n{names}", deliver=False) as s:
            old = await s.client()
            hook(tmp_path, "mailfrom", 'Reject("two");')
            hook(tmp_path, "rcptto", "if (")
            assert not await s.app.reload_if_changed()
            assert s.events()["scripts.kept"] == 1
            assert "one" in await (await s.client()).send("a@example.com", "b@example.net")
            hook(tmp_path, "rcptto", 'Reject("two");')
            assert await s.app.reload_if_changed()
            assert "two" in await (await s.client()).send("a@example.com", "b@example.net")
            assert "one" in await old.send("a@example.com", "b@example.net")
            assert not await s.app.reload_if_changed()

    asyncio.run(scenario())


@pytest.mark.xdist_group("scanners")
def test_real_spamd_and_rspamd_mark_gtube_and_leave_clean_mail_alone(tmp_path):
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    clean = "From: a@example.com\r\nTo: b@example.net\r\nSubject: minutes\r\n"
    clean += f"Date: {date}\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n"
    gtube = clean.replace("Hello", GTUBE if isinstance(GTUBE, str) else GTUBE.decode())

    async def scenario():
        with Spamd() as spamd, Rspamd() as rspamd:
            settings = f'{SEED_HOOKS}[scanners.spamassassin]\naddress = "{spamd.address}"\n'
            settings += f'[scanners.rspamd]\nurl = "{rspamd.url}"\n'
            async with server(tmp_path, settings, deliver=False) as s:
                client = await s.client()
                assert (await client.send("a@example.com", "b@example.net", content=clean)).startswith("250")
                assert (await client.send("a@example.com", "b@example.net", content=gtube)).startswith("250")
                rows = [s.app.queue.get(n) for n in (1, 2)]
                assert [dict(row.metadata) for row in rows] == [{}, {"spam": "yes"}]

    asyncio.run(scenario())


@pytest.mark.xdist_group("redis")
def test_counters_in_a_real_redis_are_shared_by_two_servers(tmp_path):
    script = 'if (rate("outbound", $senderdomain, 3, 3600) == false) Defer("too many");'

    async def scenario():
        with RedisServer() as redis:
            settings = f'[rate]\nstore = "redis"\n[redis]\nurl = "{redis.url}"\n[hooks]\n'
            one, two = tmp_path / "one", tmp_path / "two"
            one.mkdir()
            two.mkdir()
            async with (
                server(one, settings + hook(one, "rcptto", script), deliver=False) as a,
                server(two, settings + hook(two, "rcptto", script), deliver=False) as b,
            ):
                clients = [await a.client(), await b.client()]
                replies = [await clients[n % 2].send("a@example.com", "b@example.net") for n in range(5)]
                assert [reply[:3] for reply in replies] == ["250", "250", "250", "450", "450"]

    asyncio.run(scenario())


def test_the_control_socket_lists_holds_releases_and_deletes(tmp_path):
    from hslpy.cli.queue import request

    async def scenario():
        async with server(tmp_path, deliver=False) as s:
            client = await s.client()
            reply = await client.send("a@example.com", "b@example.net", "c@example.net")
            transaction = reply.split("queued as ")[1].split()[0]
            path = s.app.settings.control_path
            assert os.stat(path).st_mode & 0o077 == 0

            def ask(command, **arguments):
                return asyncio.to_thread(request, path, command, arguments)

            assert (await ask("queue.list"))["total"] == 2
            shown = await ask("queue.show", id=transaction, content=True)
            assert [r["recipient"] for r in shown["recipients"]] == ["b@example.net", "c@example.net"]
            assert "Subject: hello" in shown["content"]
            assert (await ask("queue.hold", ids=[1]))["count"] == 1
            assert (await ask("queue.list"))["recipients"][0]["state"] == "held"
            assert (await ask("queue.release", all=True))["count"] == 2
            assert (await ask("queue.delete", filter={"recipient": "b@example.net"}))["count"] == 1
            assert (await ask("queue.list"))["total"] == 1

    asyncio.run(scenario())


def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path):
    async def scenario():
        script = "sleep(0.2);"
        async with server(tmp_path, "[hooks]\n" + hook(tmp_path, "rcptto", script), deliver=False) as s:
            client = await Client.connect(s.port)
            await client.say("EHLO a")
            await client.say("MAIL FROM:<a@example.com>")
            client.writer.write(b"RCPT TO:<b@example.net>\r\n")
            await asyncio.sleep(0.05)
            client.writer.transport.abort()
            await s.until(lambda: not s.app.smtp.connections)
            assert (await (await s.client()).send("a@example.com", "b@example.net")).startswith("250")

    asyncio.run(scenario())


def test_a_script_asks_a_client_that_signs_in_for_one_more_answer(tmp_path):
    script = 'if ($saslstate == 0) Reply("Code?"); if ($saslresponse == "42") Accept(); Reject();'
    settings = '[smtp]\nauth_without_tls = true\nauth_mechanisms = ["CODE"]\n[hooks]\n' + hook(tmp_path, "auth", script)

    async def scenario():
        async with server(tmp_path, settings, deliver=False) as s:
            client = await s.client()
            await client.say("EHLO client.example.com")
            assert await client.say("AUTH CODE") == "334 " + b64encode(b"Code?").decode()
            assert (await client.say(b64encode(b"42").decode())).startswith("235 2.7.0 ")

    asyncio.run(scenario())
