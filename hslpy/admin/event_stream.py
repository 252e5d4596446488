"""A stream of server-sent events that is never quiet for long. In: messages as they come. Out: a reply.

Source: HTML, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

ALIVE_S = 15.0  # how often a stream says something, so that nothing on its way takes it for dead


def message(data: Any, *, id: object = "", event: str = "") -> str:
    """Give one message. Who connects again says the `id` of the last one that came."""
    fields = (("id", id), ("event", event), ("data", json.dumps(data, ensure_ascii=False)))
    return "".join(f"{name}: {value}\n" for name, value in fields if value != "") + "\n"


def stream_of(messages: AsyncIterator[str]) -> StreamingResponse:
    """Give the reply that ends with the last message, or with the connection."""
    return StreamingResponse(_alive(messages), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _alive(messages: AsyncIterator[str]) -> AsyncIterator[str]:
    waiting: asyncio.Future[str] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(messages, ""))
            done, _ = await asyncio.wait([waiting], timeout=ALIVE_S)
            if not done:
                yield ": still here\n\n"
                continue
            text, waiting = waiting.result(), None
            if not text:
                return
            yield text
    finally:
        if waiting is not None:
            waiting.cancel()
