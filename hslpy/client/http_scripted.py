"""HTTP for tests of scripts: nothing leaves the machine. In: answers by URL. Out: those; requests stay in `requests`."""

from __future__ import annotations

import fnmatch
from dataclasses import field

from hslpy.client.http_contract import Background, HttpFailed, HttpRequest, HttpResponse, HttpTooLarge
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that was made, with its whole body."""

    request: HttpRequest
    body: bytes
    background: bool


@dataclass(slots=True)
class ScriptedHttp:
    """Answers a request by the last rule whose pattern (`*`, `?`) its URL matches; without one it fails.

    An answer None fails too.
    """

    rules: list[tuple[str, HttpResponse | None]] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)

    def answer(self, pattern: str, response: HttpResponse | None) -> None:
        """Answer so from now on."""
        self.rules.append((pattern, response))

    async def request(self, request: HttpRequest) -> HttpResponse:
        body = request.body
        if body is not None and not isinstance(body, bytes):
            body = b"".join([part async for part in body])
        self.requests.append(Seen(request, body or b"", False))
        matching = [r for p, r in self.rules if request.url == p or fnmatch.fnmatchcase(request.url, p)]
        if not matching:
            raise HttpFailed(f"no answer is scripted for {request.shown_url}")
        response = matching[-1]
        if response is None:
            raise HttpFailed("the test says that it fails")
        if request.most_bytes is not None and len(response.content) > request.most_bytes:
            raise HttpTooLarge(request.most_bytes + 1)
        return response

    def queue(self, request: HttpRequest, background: Background) -> bool:
        self.requests.append(Seen(request, request.body if isinstance(request.body, bytes) else b"", True))
        return True

    async def close(self) -> None:
        """Nothing is open."""
