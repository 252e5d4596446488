"""Alerts on their way: by a real server's queue into a real mailbox's server, and to a real web server."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hslpy.admin.control import ask
from hslpy.admin.submit import submitter
from hslpy.client.http import AiohttpClient
from hslpy.client.http_contract import HttpSettings
from hslpy.clock import ManualClock
from hslpy.egress.accounts import site
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.addresses.inventory import keep
from hslpy.egress.checks.checkup import Kept
from hslpy.egress.checks.facts import Finding
from hslpy.egress.reputation.alerts import MOST_NOTICES, WAITS_S, Alerter, Notice, subject_of
from hslpy.egress.reputation.listings import Alert
from hslpy.egress.rules.book import LEVELS
from hslpy.egress.store.database import Actor
from hslpy.egress.store.tables import DeliverySetting, Node, SettingAddress
from hslpy.egress.upkeep import unfit, vanished
from hslpy.errors import OperatorError

from ..scenarios.harness import server
from ..support.smtp_sink import Sink
from ..support.web_server import WebServer, server_context

ROOT = Actor("root", "page")
LISTED = Alert(
    "listed", "192.0.2.7", ("node1.example.com",), 3, "Spam Stop", "KEY.bl.stop.test", "warning", ("127.0.0.2",),
    ("spam source",), ("see https://stop.test/192.0.2.7",), "https://stop.test/removal", 1_700_000_000.0,
)  # fmt: skip
CLEARED = Alert("cleared", "192.0.2.8", (), 3, "Spam Stop", "bl.stop.test", "warning", (), (), (), "", 1_700_000_000.0)


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path / 'egress.db'}"


async def lookup(host: str) -> list[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def alerter(database, submit=None, clock=None, **settings: object):
    """Give one whose log is a list, with the site's settings."""
    site.change(database, ROOT, settings)
    log: list[tuple[str, dict[str, object]]] = []
    clock = clock or ManualClock()
    http = AiohttpClient(HttpSettings(), clock, lookup, lambda event, fields: None)

    async def nowhere(recipients: object, content: bytes) -> None:
        raise AssertionError("no mail is wanted")

    one = Alerter(
        database,
        http,
        submit or nowhere,
        clock,
        "node1.example.com",
        lambda event, fields: log.append((event, dict(fields))),
    )
    try:
        yield one, log
    finally:
        await one.close()
        await http.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


def run(test: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_mail_goes_through_the_queue_of_this_node(database, tmp_path):
    async def test() -> None:
        async with Sink("127.0.0.50") as sink:
            hop = f'next_hop = "127.0.0.50"\nport = {sink.port}\nallow_private_targets = true\n'
            settings = f'[[transport]]\nid = "mailtransport:1"\n{hop}'
            async with server(tmp_path, settings) as s:
                control = s.app.settings.control_path
                async with alerter(database, submitter(control), alert_addresses="ann@example.org, bob@example.org") as (
                    one,
                    _,
                ):
                    await one.listings([LISTED, CLEARED], ["192.0.2.7 is suspended: listed by Spam Stop"])
                    await until(lambda: len({to for mail in sink.received for to in mail.rcpts}) == 2)
                with pytest.raises(OperatorError, match="`nobody` is no mail address"):
                    await ask(control, "message.submit", {"recipients": ["nobody"], "content": "Subject: x\r\n\r\n"})
            mail = sink.received[0]
            assert mail.mail.startswith("<> ")
            message = email.message_from_bytes(mail.content, policy=email.policy.default)
            assert message["subject"] == "node1.example.com: 1 new listing, 1 listing cleared, 1 note on suspensions"
            assert message["to"] == "ann@example.org, bob@example.org"
            assert message["auto-submitted"] == "auto-generated"
            assert message.get_content().splitlines()[:5] == [
                "192.0.2.7 is listed by Spam Stop (spam source).",
                "  see https://stop.test/192.0.2.7",
                "  Removal: https://stop.test/removal",
                "192.0.2.8 is no longer listed by Spam Stop.",
                "192.0.2.7 is suspended: listed by Spam Stop",
            ]

    run(test())


def test_a_webhook_is_posted_json(database):
    async def test() -> None:
        async with WebServer() as web, alerter(database, alert_webhook=f"{web.url}/hook?token=secret") as (one, log):
            await one.listings([LISTED], [])
            await until(lambda: web.requests)
            (request,) = web.requests
            assert (request.method, request.header("content-type")) == ("POST", "application/json")
            body = json.loads(request.body)
            assert body["node"] == "node1.example.com"
            assert body["text"] == "node1.example.com: 1 new listing\n192.0.2.7 is listed by Spam Stop (spam source)."
            (notice,) = body["notices"]
            assert {key: notice[key] for key in ("kind", "address", "list", "zone", "severity", "codes", "at")} == {
                "kind": "listed", "address": "192.0.2.7", "list": "Spam Stop", "zone": "KEY.bl.stop.test",
                "severity": "warning", "codes": ["127.0.0.2"], "at": "2023-11-14T22:13:20+00:00",
            }  # fmt: skip
            assert [event for event, _ in log] == ["reputation.alert"]

    run(test())


def test_a_webhook_that_fails_is_tried_again_and_then_given_up(database):
    async def test() -> None:
        clock = ManualClock()
        async with WebServer() as web, alerter(database, clock=clock, alert_webhook=f"{web.url}/fails/2") as (one, log):
            await one.listings([LISTED], [])
            for tries, wait_s in ((1, WAITS_S[0]), (2, WAITS_S[1])):
                await until(lambda tries=tries: len(web.requests) == tries and len(clock._sleepers) == 1)
                clock.advance(wait_s)
            await until(lambda: len(web.requests) == 3 and not one._tasks)
            assert [event for event, _ in log] == ["reputation.alert"]

    run(test())


@pytest.mark.parametrize(("path", "why"), [("status/403", "answers 403"), ("to/1", "answers 302")])
def test_a_webhook_that_refuses_or_sends_elsewhere_is_logged(database, path, why):
    async def test() -> None:
        async with WebServer() as web, alerter(database, alert_webhook=f"{web.url}/{path}?token=secret") as (one, log):
            await one.listings([LISTED], [])
            await until(lambda: len(log) == 2)
            assert len(web.requests) == 1
            event, fields = log[1]
            assert (event, fields["by"]) == ("reputation.alert_not_sent", "webhook")
            assert str(fields["error"]).endswith(why) and "secret" not in str(fields)

    run(test())


def test_a_webhook_of_a_stranger_gets_nothing(database, tmp_path):
    async def test() -> None:
        async with WebServer(server_context(tmp_path)) as web:
            async with alerter(database, alert_webhook=f"{web.url}/hook") as (one, log):
                await one.listings([LISTED], [])
                await until(lambda: len(one._clock._sleepers) == 1)
            assert not web.requests
            assert log[1][0] == "reputation.alert_not_sent" and "certificate" in str(log[1][1]["error"])

    run(test())


def test_nobody_there_to_take_the_mail(database, tmp_path):
    async def test() -> None:
        clock = ManualClock()
        async with alerter(database, submitter(tmp_path / "none"), clock, alert_addresses="ann@example.org") as (one, log):
            await one.listings([LISTED], [])
            for wait_s in WAITS_S:
                await until(lambda: len(clock._sleepers) == 1)
                clock.advance(wait_s)
            await until(lambda: len(log) == 2)
            assert log[1][1]["by"] == "mail" and "no server answers" in str(log[1][1]["error"])

    run(test())


def test_nothing_is_sent_where_nobody_is_to_be_told(database):
    async def test() -> None:
        async with alerter(database) as (one, log):
            await one.listings([LISTED], [])
            await one.tell([])
            assert not one._tasks and len(log) == 1

    run(test())


def test_many_notices_are_counted():
    notices = [Notice("listed", f"192.0.2.{n}") for n in range(200)]
    assert subject_of(notices) == "200 new listings"
    from hslpy.egress.reputation.alerts import mail_of

    lines = mail_of(notices, "n1", ["a@b.example"], 0.0, "1@n1").decode().splitlines()
    assert "and 100 more" in lines and f"192.0.2.{MOST_NOTICES}" not in lines


def test_an_address_that_is_gone_or_unfit_is_told(database):
    with database.change(ROOT, "test") as change:
        node = Node(name="n1.example")
        change.add(node)
        change.flush()
        setting = DeliverySetting(
            scope="d", level=next(iter(LEVELS)), node_id=node.id, ipv4=["192.0.2.1"], ipv6=[], changed_at=0.0, changed_by="x"
        )
        change.add(setting)
        change.flush()
        change.add(SettingAddress(setting_id=setting.id, address="192.0.2.1"))
    both = (LocalAddress("192.0.2.1", "eth0"), LocalAddress("192.0.2.2", "eth0"))
    gone = []
    for addresses in (both, both, (), ()):
        with database.keep() as session:
            gone.append(keep(session, Report("n1.example", addresses)))
    assert gone == [[], [], ["192.0.2.1"], []]
    assert vanished("192.0.2.1", "n1.example").text.startswith("192.0.2.1 is no longer on n1.example.")
    found = Kept("n1.example", "192.0.2.1", "critical", (Finding("P07", "critical", "It has no PTR."),), 0.0)
    assert unfit(found, "n1.example").text == "192.0.2.1 on n1.example: It has no PTR."
