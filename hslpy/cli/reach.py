"""How commands reach the JSON API: at the running server's Unix socket, or, where no server runs, in this process.

In: requests. Out: their answers. Without a server the database of the settings file is opened here, so that everything can
be set up before the first start; the same application answers in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from hslpy.config import Settings, read_settings
from hslpy.errors import OperatorError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Params = Mapping[str, str | int | Sequence[str | int]]
TIMEOUT_S = 120.0  # checks ask DNS for up to a minute
_BASE = "http://localhost/api/v1"


class Api:
    """The API for one command: `with Api(config) as api`."""

    def __init__(self, config: Path | None) -> None:
        self._settings = read_settings(config)

    def __enter__(self) -> Api:
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        try:
            self._client = self._runner.run(self._open())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def call(
        self, method: str, path: str, body: Any = None, *, params: Params | None = None, file: bytes | None = None
    ) -> Any:
        """Give the answer: what its JSON says, or its text. Raises OperatorError with what is refused (exit status 1)."""
        given = {name: value for name, value in (params or {}).items() if value not in ("", None, False, [])}
        return self._runner.run(self._ask(method, path, body, given, file))

    def wait(self, seconds: float) -> None:
        """Let time pass; what goes on in this process goes on."""
        self._runner.run(asyncio.sleep(seconds))

    def rows(self, path: str, **params: Any) -> list[Any]:
        """Give the rows of all pages."""
        found: list[Any] = []
        page = 1
        while True:
            answer = self.get(path, **params, page=page, per_page=500)
            found += answer["items"]
            if page >= answer["pages"]:
                return found
            page += 1

    async def _ask(self, method: str, path: str, body: Any, params: Params, file: bytes | None) -> Any:
        import httpx

        headers = {"Content-Type": "text/csv"} if file is not None else {}
        try:
            reply = await self._client.request(
                method,
                path,
                params=params,
                json=body,
                content=file,
                headers=headers,
            )
        except httpx.TransportError as error:
            raise OperatorError(f"the server went away: {error or type(error).__name__}", exit_code=1) from error
        is_json = reply.headers.get("content-type", "").startswith("application/json")
        if reply.is_success:
            return reply.json() if is_json else reply.text
        try:
            told = reply.json()["error"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise OperatorError(f"the server answers {reply.status_code}: {reply.text.strip()[:200]}", exit_code=1) from None
        raise OperatorError(told["message"], hint=told.get("hint"), exit_code=1)

    async def _open(self) -> httpx.AsyncClient:
        import httpx

        from hslpy.admin.control import process_at, reachable

        path = self._settings.admin_path
        if await process_at(path) is not None:
            name = self._stack.enter_context(reachable(path))
            transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(uds=name)
        else:
            transport = httpx.ASGITransport(await self._application())
        client = httpx.AsyncClient(transport=transport, base_url=_BASE, timeout=TIMEOUT_S, trust_env=False)
        return await self._stack.enter_async_context(client)

    async def _application(self) -> Callable[..., Awaitable[None]]:
        from functools import partial

        from hslpy.admin.agent import Agent
        from hslpy.admin.web import web_app
        from hslpy.admin.who import as_local
        from hslpy.client.http import AiohttpClient
        from hslpy.clock import SystemClock
        from hslpy.dns.hosts import addresses_of
        from hslpy.dns.resolver import DnsResolver
        from hslpy.egress.store.database import Database
        from hslpy.egress.store.faults import DatabaseFault
        from hslpy.egress.traffic import picture_copy
        from hslpy.log import no_log

        settings = self._settings
        if not settings.egress.database:
            raise OperatorError("there is no database of delivery IPs", hint="set `egress.database`, or leave it out")
        self._make_folder(settings)
        self._stack.callback(os.umask, os.umask(0o077))  # the database has hashes of passwords
        clock = SystemClock()
        database = Database(settings.egress.database, clock)
        self._stack.callback(database.close)
        loopback = settings.delivery.allow_private_targets
        http = AiohttpClient(settings.http, clock, partial(addresses_of, DnsResolver(settings.resolver, clock)), no_log)
        self._stack.push_async_callback(http.close)
        node = settings.hostname.lower().removesuffix(".")
        agent = Agent(database, node, settings.resolver, http, settings.control_path, clock, no_log, allow_loopback=loopback)
        self._stack.push_async_callback(agent.close)
        former = picture_copy.former(settings.data_dir, database.place)
        await asyncio.to_thread(database.open, former=former)
        try:
            await asyncio.to_thread(agent.prepare)
        except DatabaseFault as error:
            raise OperatorError(f"the database of delivery IPs cannot be used: {error}") from error
        return as_local(web_app(agent.of_requests()))

    @staticmethod
    def _make_folder(settings: Settings) -> None:
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OperatorError(f"{settings.data_dir} cannot be made: {error.strerror}") from error
