"""The control request that puts a message of the server's own into the queue. In: arguments from the socket. Out: its id.

It passes no hook: who may ask is who may open the socket. Source of alerts by mail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from hslpy.admin.control import Handler, ask
from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.mail.address import NULL_SENDER, Address, parse_address
from hslpy.mail.message import split_content
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient

Accept = Callable[[NewMessage], Awaitable[tuple[QueuedRecipient, ...]]]
COMMAND = "message.submit"


def submit_command(accept: Accept, clock: Clock, new_id: Callable[[], str], transport_id: str) -> dict[str, Handler]:
    """Give the handler by its name. `recipients` is a list of addresses, `content` the message, 7-bit, with CRLF."""

    async def submit(arguments: Mapping[str, Any]) -> dict[str, Any]:
        given, content = arguments.get("recipients"), arguments.get("content")
        if not isinstance(given, list) or not given or not isinstance(content, str) or not content.isascii():
            raise OperatorError(f"{COMMAND} wants `recipients` and `content`, a message of ASCII")
        now = clock.time()
        header, body = split_content(content.encode())
        recipients = tuple(NewRecipient(_address(str(one)), NULL_SENDER, transport_id, now) for one in given)
        message = NewMessage(new_id(), now, "", "", "", "", header, body, recipients)
        (first, *_) = await accept(message)
        return {"transaction": first.transaction_id}

    return {COMMAND: submit}


def submitter(control: Path) -> Callable[[Any, bytes], Awaitable[None]]:
    """Give what puts a message into the queue of the server at a control socket. It raises OperatorError."""

    async def submit(recipients: Any, content: bytes) -> None:
        await ask(control, COMMAND, {"recipients": list(recipients), "content": content.decode("ascii")})

    return submit


def _address(text: str) -> Address:
    address = parse_address(text.encode().decode("latin-1"))  # in the queue addresses have a character a byte
    if address is None or not address.domain:
        raise OperatorError(f"`{text}` is no mail address")
    return address
