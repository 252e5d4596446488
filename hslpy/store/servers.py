"""Which Redis server has a key: the only one, the master that Sentinels know, or a node of a Redis Cluster.

In: settings. Out: servers by name, and their clients. A call goes out once, and again only where the answer says that
nothing was done: an unknown script, another node's slot. Must not know what is kept there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from hslpy.store.redis import (
    AskError,
    MovedError,
    NoScriptError,
    Redis,
    RedisConnectionError,
    RedisError,
    RedisSettings,
    Script,
    connect,
    connect_to,
    connect_to_sentinel,
    key_slot,
)

T = TypeVar("T")

MOST_REDIRECTS = 4
"""How often a call is passed on: a slot that moves twice, with an ASK in between, is more than is ever seen."""

ASK_S = 0.25
"""How long those who know the masters are waited for once one has answered: the newest answer counts, not the first."""

WATCH_S = 0.5
"""How often Sentinels are asked while all is well: a master that was replaced by order takes writes for 8 s more, which are
lost. Source: redis' sentinel.c, SENTINEL_PUBLISH_PERIOD."""

LINGER_S = 2.0
"""How long the connections to a master that was replaced stay open for what is under way: above any timeout."""

SLOTS = 16384  # of Redis Cluster

HERE = "redis"
"""The name of the only server, and of the master of Sentinels, whichever it is."""


class RedisUnknown(RedisConnectionError):
    """Nobody says where the server is."""


class Servers:
    """The servers by the settings. `name_of` gives who has a key, "" while that isn't known: then `find` is due.

    Names are addresses in a cluster. `close` closes all connections.
    """

    def __init__(self, settings: RedisSettings) -> None:
        """Raises OperatorError where the settings cannot be read."""
        self.settings = settings
        self.is_cluster = bool(settings.cluster)
        self._clients: dict[str, Redis] = {}
        self._slots: list[str] = [""] * SLOTS if self.is_cluster else []
        self._nodes: set[str] = set()  # those of `_slots`
        self._master = ""  # the address that the Sentinels gave
        self._room = asyncio.Semaphore(settings.max_connections)  # redis-py's pool refuses where it has no more
        self._advisers: dict[str, Redis] = {}
        self._finding: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._replaced: set[Redis] = set()
        if not self.is_cluster and not settings.sentinels:
            self._clients[HERE] = connect(settings)

    @property
    def place(self) -> str:
        """Where the settings say that Redis is, for people: without a password."""
        if self.is_cluster:
            return f"cluster of {', '.join(self.settings.cluster)}"
        if self.settings.sentinels:
            return f"{self.settings.sentinel_service}, by {', '.join(self.settings.sentinels)}"
        kwargs = self._clients[HERE].connection_pool.connection_kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    def name_of(self, key: bytes) -> str:
        """Give the name of the server that has the key, "" where it is not known yet."""
        if self._slots:
            return self._slots[key_slot(key)]
        return HERE if self._clients else ""

    def client(self, name: str) -> Redis:
        """Give the client of a server by its name. After a `find` it may be another one, and the one before closed."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = connect_to(self.settings, name)
        return client

    def has(self, name: str) -> bool:
        """Say whether there is such a server, as far as is known."""
        return name in (self._nodes if self.is_cluster else self._clients)

    def moved(self, error: AskError) -> str:
        """Take in who has a key, by what a node answered, and give that one's name; after an ASK nothing is taken in."""
        if not error.host:
            raise RedisUnknown("a node of the cluster does not know its own address")
        name = f"{error.host}:{error.port}"
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = name
            self._nodes.add(name)
        return name

    async def find(self) -> None:
        """Look where the servers are now. Raises RedisError or OSError; the caller has the deadline.

        One look at a time: who asks meanwhile gets its result, and none is cut short with who asked first.
        """
        if self._finding is None or self._finding.done():
            self._finding = asyncio.get_running_loop().create_task(self._find())
            self._finding.add_done_callback(_taken)
        await asyncio.shield(self._finding)

    async def probe(self, name: str, prefix: bytes) -> None:
        """Write to a key of that server, as one that only reads, is full or loads would not let us. Raises as `find` does.

        Where it is no longer one of ours there is nothing to raise.
        """
        await self.find()
        if not name or not self.has(name):
            return
        key = prefix
        if self.is_cluster:
            tries = (prefix + b"%d" % n for n in range(SLOTS))
            key = next((one for one in tries if self.name_of(one) == name), prefix)
        await self.client(name).set(key, b"", px=1000)

    async def call(self, script: Script, key: bytes, *words: str | bytes | float) -> Any:
        """Run the script on the key. Raises RedisError or OSError; the caller has the deadline."""
        async with self._room:
            name = self.name_of(key)
            if not name:
                await self.find()
                name = self.name_of(key)
                if not name:
                    raise RedisUnknown("no node of the cluster has the key's slot")
            asking = False
            for _ in range(MOST_REDIRECTS):
                try:
                    return await self._call(self.client(name), asking, script, key, words)
                except AskError as error:
                    asking = not isinstance(error, MovedError)
                    name = self.moved(error)
            raise RedisUnknown("the nodes of the cluster send us from one to the other")

    async def _call(self, client: Redis, asking: bool, script: Script, key: bytes, words: Sequence[Any]) -> Any:
        if asking:
            async with client.pipeline(transaction=False) as pipe:
                pipe.execute_command("ASKING")
                pipe.eval(script.text, 1, key, *words)
                return (await pipe.execute())[1]
        try:
            return await client.evalsha(script.sha, 1, key, *words)
        except NoScriptError:  # nothing ran: a new server, or one whose scripts were flushed
            return await client.eval(script.text, 1, key, *words)

    async def close(self) -> None:
        """Close all connections."""
        tasks = [task for task in (self._watching, self._finding) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for client in (*self._clients.values(), *self._advisers.values(), *self._replaced):
            await self._close_one(client)

    async def _close_one(self, client: Redis) -> None:
        with suppress(RedisError, OSError):
            await client.aclose()

    # ---- finding --------------------------------------------------------------------------------------

    async def _find(self) -> None:
        if self.is_cluster:
            await self._find_nodes()
        elif self.settings.sentinels:
            await self._find_master()
        else:
            await self._reconnect()

    async def _reconnect(self) -> None:
        """Leave the connections there are, for the name may lead to another server by now."""
        pool = self._clients[HERE].connection_pool
        await pool.disconnect(inuse_connections=False)
        host = pool.connection_kwargs.get("host")
        if host:  # a thread of the loop's few: one look-up at a time, however long the name servers take
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)

    async def _find_master(self) -> None:
        name = self.settings.sentinel_service

        async def ask(sentinel: Redis) -> tuple[int, str]:
            found: Any = await sentinel.sentinel_master(name)
            return int(found["config-epoch"]), f"{found['ip']}:{found['port']}"

        self._advise(self.settings.sentinels, connect_to_sentinel)
        _, address = max(await self._answers(ask))
        if address != self._master:
            self._master = address
            before = self._clients.get(HERE)
            self._clients[HERE] = connect_to(self.settings, address)
            if before is not None:
                self._replaced.add(before)
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Follow the master that the Sentinels name, without anyone's asking."""
        while True:
            lingering = set(self._replaced)
            for _ in range(int(LINGER_S / WATCH_S)):
                await asyncio.sleep(WATCH_S)
                with suppress(RedisError, OSError):
                    await self.find()
            for client in lingering:
                self._replaced.discard(client)
                await self._close_one(client)

    async def _find_nodes(self) -> None:
        async def ask(node: Redis) -> dict[str, Any]:
            found: dict[str, Any] = await node.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
            return found

        known = dict.fromkeys([*self.settings.cluster, *sorted(self._nodes)])
        self._advise(known, connect_to)
        newest = [-1] * SLOTS
        slots = self._slots.copy()
        for nodes in await self._answers(ask):
            for address, node in nodes.items():
                flags = node["flags"].split(",")
                if "master" not in flags or "noaddr" in flags or not address.partition(":")[0]:
                    continue
                epoch = int(node["epoch"])
                for first, *last in node["slots"]:
                    for slot in range(int(first), int(last[0] if last else first) + 1):
                        if epoch > newest[slot]:
                            newest[slot] = epoch
                            slots[slot] = address
        self._slots = slots
        self._nodes = set(slots) - {""}
        for name in set(self._clients) - self._nodes:
            await self._close_one(self._clients.pop(name))

    def _advise(self, addresses: Iterable[str], make: Callable[[RedisSettings, str], Redis]) -> None:
        for address in addresses:
            if address not in self._advisers:
                self._advisers[address] = make(self.settings, address)

    async def _answers(self, ask: Callable[[Redis], Awaitable[T]]) -> list[T]:
        """Ask all advisers at once and give the answers there are when all have answered, or ASK_S after the first did.

        Raises RedisUnknown where none answers in the time to connect.
        """
        loop = asyncio.get_running_loop()
        left = {asyncio.ensure_future(ask(client)) for client in self._advisers.values()}
        answers: list[T] = []
        error = "no answer"
        end = loop.time() + self.settings.connect_timeout_s
        try:
            while left and loop.time() < end:
                done, left = await asyncio.wait(left, timeout=end - loop.time(), return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        answers.append(task.result())
                    except (RedisError, OSError, KeyError, ValueError, TypeError) as failed:
                        error = str(failed) or type(failed).__name__
                if answers:
                    end = min(end, loop.time() + ASK_S)
        finally:
            for task in left:
                task.cancel()
        if not answers:
            raise RedisUnknown(f"none of {', '.join(self._advisers)} says where Redis is: {error}")
        return answers


def _taken(task: asyncio.Task[None]) -> None:
    """Look at the outcome even where nobody waits for it any longer."""
    if not task.cancelled():
        task.exception()
