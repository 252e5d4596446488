"""What a node does by itself beside the page, against a real database and a DNS server of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from hslpy.admin.agent import Agent
from hslpy.admin.control import ControlServer
from hslpy.client.http import AiohttpClient
from hslpy.client.http_contract import HttpSettings
from hslpy.clock import SystemClock
from hslpy.dns.resolver import ResolverSettings
from hslpy.egress.accounts import directory, site
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.reputation import block_lists
from hslpy.egress.reputation.block_lists import Draft
from hslpy.egress.rules.dnsbl import Meaning
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Address, Dnsbl
from hslpy.log import no_log
from tests.support.dnsbl_server import DnsblServer, List

ROOT = Actor("root", "page")
NOWHERE = ResolverSettings(("127.0.0.1",), port=9, try_s=0.1, lifetime_s=0.1)
LIMIT_S = 60.0


async def nobody(host: str, server: str | None = None) -> Any:
    raise AssertionError(f"{host} is asked for")


@asynccontextmanager
async def agent_of(
    database: Database, folder: Path, node: str, log: Callable[[str, Mapping[str, object]], None]
) -> AsyncIterator[Agent]:
    clock = SystemClock()
    http: Any = AiohttpClient(HttpSettings(), clock, nobody, log)
    agent = Agent(database, node, NOWHERE, http, folder / "none.sock", clock, log, allow_loopback=True)
    try:
        yield agent
    finally:
        await agent.close()
        await http.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await condition():
            await asyncio.sleep(0.05)


def test_a_node_finds_itself_and_the_lists(database: Database, tmp_path: Path) -> None:
    logged: list[str] = []

    async def scenario() -> None:
        for _ in range(2):
            async with agent_of(database, tmp_path, "mail.example.com", lambda event, fields: logged.append(event)) as agent:
                await asyncio.to_thread(agent.prepare)
                running = asyncio.create_task(agent.run())

                async def reported() -> bool:
                    return any(node.name == "mail.example.com" and node.reported_at for node in _nodes(database))

                await until(reported)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert not logged and len(_nodes(database)) == 1
    with database.read() as session:
        assert session.scalar(select(Address.present).where(Address.address == "127.0.0.1"))
        assert (session.scalar(select(func.count(Dnsbl.id))) or 0) > 20


def test_a_name_that_no_node_can_have_is_told_of(database: Database, tmp_path: Path) -> None:
    logged: list[tuple[str, Mapping[str, object]]] = []

    async def scenario() -> None:
        async with agent_of(database, tmp_path, "vm_1", lambda event, fields: logged.append((event, fields))) as agent:
            await asyncio.to_thread(agent.prepare)
            running = asyncio.create_task(agent.run())
            while not logged:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert not running.done()
            running.cancel()

    asyncio.run(scenario())
    assert [(event, fields["node"]) for event, fields in logged] == [("egress.no_node", "vm_1")]
    assert not _nodes(database)


def test_resolvers_of_the_site_are_asked_without_a_restart(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = DnsblServer({"bl.test": List()})
        await server.start()
        async with agent_of(database, tmp_path, "mail.example.com", lambda event, fields: None) as agent:
            await asyncio.to_thread(agent.prepare)
            row = block_lists.add(database, ROOT, Draft("bl", "bl.test", (4,), (), Meaning("address")))
            before = agent.reputation.estimate(1000, 1).duration_s
            running = asyncio.create_task(agent.run())
            site.change(database, ROOT, {"dnsbl_resolvers": f"127.0.0.1:{server.port}", "dnsbl_interval_s": 0})

            async def followed() -> bool:
                return agent.reputation.estimate(1000, 1).duration_s < before

            await until(followed)
            assert (await agent.reputation.test(row.id)).status == "working"
            assert server.names("bl.test")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        server.close()

    asyncio.run(scenario())


def test_mail_of_locked_senders_is_asked_for_where_an_address_is_to_be_replaced(database: Database, tmp_path: Path) -> None:
    directory.add_domain(database, ROOT, "example.com")
    directory.add_user(database, ROOT, "example.com", "bob", password="correct horse")
    directory.lock_user(database, ROOT, "example.com", "bob")

    async def summary(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        assert arguments["by"] == "user"
        return {"groups": [{"value": "bob@example.com", "count": 7}, {"value": "eve@example.com", "count": 1}]}

    async def scenario() -> list[str]:
        server = ControlServer(tmp_path / "none.sock", {"queue.summary": summary}, no_log)
        await server.start()
        async with agent_of(database, tmp_path, "mail.example.com", no_log) as agent:
            await asyncio.to_thread(agent.prepare)
            findings = await agent.checker.check("mail.example.com", "10.0.0.9", replacing="10.0.0.8")
        await server.stop()
        return [one.text for one in findings if one.check == "P24"]

    (text,) = asyncio.run(scenario())
    assert text.startswith("There are 7 queued messages from locked senders.")


def _nodes(database: Database) -> list[Any]:
    return list(list_nodes(database))
