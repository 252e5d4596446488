"""Clients that are made at their first use: loading the real ones takes longer than most scripts run by hand."""

from __future__ import annotations

from collections.abc import Callable

from hslpy.client.http_contract import Background, HttpClient, HttpRequest, HttpResponse
from hslpy.client.lookup_contract import Finding, Lookups, Question


class HttpOnDemand:
    """The `HttpClient` that `make` gives."""

    def __init__(self, make: Callable[[], HttpClient]) -> None:
        self._make = make
        self._made: HttpClient | None = None

    @property
    def _client(self) -> HttpClient:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def request(self, request: HttpRequest) -> HttpResponse:
        return await self._client.request(request)

    def queue(self, request: HttpRequest, background: Background) -> bool:
        return self._client.queue(request, background)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()


class LookupsOnDemand:
    """The `Lookups` that `make` gives."""

    def __init__(self, make: Callable[[], Lookups]) -> None:
        self._make = make
        self._made: Lookups | None = None

    async def ask(self, question: Question) -> Finding:
        if self._made is None:
            self._made = self._make()
        return await self._made.ask(question)
