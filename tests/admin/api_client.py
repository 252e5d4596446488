"""The JSON API asked without a socket, as anybody, from anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.admin.who import as_local
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.store.database import Actor

ROOT = Actor("root", "cli")
PASSWORD = "long enough"
HOST = "https://api.example.com"
NODE1, NODE2 = "node1.example.net", "node2.example.net"


class Client:
    """Asks as `user`, None for nobody; `token` or `local` in its place."""

    def __init__(self, database: Any, clock: Any, **more: Any) -> None:
        self.logged: list[str] = []
        self.site = Site(database, clock, lambda event, fields: self.logged.append(event), **more)
        self.app = web_app(self.site)

    async def ask(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        user: str | None = "root",
        password: str = PASSWORD,
        token: str = "",
        local: bool = False,
        source: str = "192.0.2.1",
        headers: dict[str, str] | None = None,
        **given: Any,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(as_local(self.app) if local else self.app, client=(source, 4711))  # type: ignore[arg-type]
        auth = (user, password) if user and not token and not local else None
        headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        async with httpx.AsyncClient(transport=transport, base_url=f"{HOST}/api/v1") as client:
            return await client.request(method, path, json=json, auth=auth, headers=headers, **given)

    def __call__(self, method: str, path: str, json: Any = None, **given: Any) -> httpx.Response:
        return asyncio.run(self.ask(method, path, json, **given))

    def good(self, method: str, path: str, json: Any = None, **given: Any) -> Any:
        given.setdefault("local", True)
        reply = self(method, path, json, **given)
        assert reply.status_code in (200, 201), reply.text
        is_json = reply.headers["content-type"] == "application/json"
        return reply.json() if is_json else reply.text

    def refused(self, status: int, method: str, path: str, json: Any = None, **given: Any) -> dict[str, Any]:
        given.setdefault("local", True)
        reply = self(method, path, json, **given)
        assert reply.status_code == status, reply.text
        error: dict[str, Any] = reply.json()["error"]
        return error


def populate(database: Any) -> None:
    """Two nodes; a super-admin, an admin with a domain and one below it, somebody who only reads."""
    add_node(database, ROOT, NODE1, primary_ipv4="198.51.100.1")
    add_node(database, ROOT, NODE2, primary_ipv4="198.51.100.2", addresses=["1.1.1.1", "2.2.2.2", "2001:db8::5"])
    admins.add_admin(database, ROOT, "root", password=PASSWORD, role="super-admin")
    admins.add_admin(database, ROOT, "ann", password=PASSWORD)
    admins.add_admin(database, ROOT, "eve", password=PASSWORD, role="read-only")
    directory.add_domain(database, ROOT, "example.com", admin="ann")
    directory.add_user(database, ROOT, "example.com", "bob", password="x")
    directory.add_domain(database, ROOT, "example.org")
