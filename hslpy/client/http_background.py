"""Requests made after the script that asked for them has gone on. In: requests. Out: log records of what failed.

Each queue makes one request at a time, in order; one that waits for a retry holds up none. What is left when the server
has stopped is dropped and logged. Must not know how a request is made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hslpy.client.http_contract import Background, HttpFailed, HttpRequest, HttpResponse, HttpSettings
from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.records import dataclass

MOST_RESPONSE_BYTES = 1 << 20  # nobody reads it
_LOST_SHOWN = 20  # URLs in the record of what was lost


@dataclass(slots=True)
class _Job:
    request: HttpRequest
    background: Background
    failures: int = 0


class BackgroundRequests:
    """All queues of one client. `close` once; nothing is taken afterwards."""

    def __init__(
        self, send: Callable[[HttpRequest], Awaitable[HttpResponse]], settings: HttpSettings, clock: Clock, log: Log
    ) -> None:
        self._send = send
        self._settings = settings
        self._clock = clock
        self._log = log
        self._queues: dict[int, deque[_Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._jobs: dict[int, _Job] = {}
        self._bytes = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Give how many requests are not done with."""
        return len(self._jobs)

    def put(self, request: HttpRequest, background: Background) -> bool:
        """Take a request; False where there is no room."""
        settings = self._settings
        full = len(self._jobs) >= settings.background_requests
        if self._closed or full or self._bytes + request.size_bytes > settings.background_bytes:
            self._log("http.background_full", {"level": "error", "url": request.shown_url, "waiting": len(self._jobs)})
            return False
        limit = MOST_RESPONSE_BYTES if request.most_bytes is None else min(request.most_bytes, MOST_RESPONSE_BYTES)
        timeout_s = settings.background_timeout_s if request.timeout_s is None else request.timeout_s
        job = _Job(replace(request, most_bytes=limit, timeout_s=timeout_s), background)
        self._jobs[id(job)] = job
        self._bytes += request.size_bytes
        self._enqueue(job)
        return True

    async def close(self) -> None:
        """Go on for a while, then drop what is left, and say so."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._settings.drain_s)
        left = list(self._jobs.values())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._jobs.clear()
        if left:
            urls = [job.request.shown_url for job in left[:_LOST_SHOWN]]
            self._log("http.background_lost", {"level": "error", "count": len(left), "urls": urls})

    def _enqueue(self, job: _Job) -> None:
        number = job.background.queue % self._settings.background_queues
        queue = self._queues.get(number)
        if queue is not None:
            queue.append(job)
            return
        self._queues[number] = deque([job])
        self._start(self._work(number))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, number: int) -> None:
        """Make the requests of a queue until it is empty."""
        queue = self._queues[number]
        try:
            while queue:
                await self._try(queue.popleft())
        finally:
            del self._queues[number]

    async def _try(self, job: _Job) -> None:
        try:
            response = await self._send(job.request)
            error = "" if response.is_success else f"status {response.status}"
        except HttpFailed as failure:
            error = failure.message
        except Exception as failure:  # whatever it is, those after it in the queue must have their turn
            error = f"{type(failure).__name__}: {failure}"[:300]
        if error and job.failures < job.background.retries:
            job.failures += 1
            self._start(self._again(job))
            return
        del self._jobs[id(job)]
        self._bytes -= job.request.size_bytes
        if error:
            fields = {"level": "warning", "url": job.request.shown_url, "error": error, "tries": job.failures + 1}
            self._log("http.background_failed", fields)

    async def _again(self, job: _Job) -> None:
        await self._clock.sleep(job.background.delay_s)
        self._enqueue(job)
