"""What the spool keeps. In: messages and changes to their recipients. Out: durability, and all of it after a restart.

A message is stored once: its received content, variants of it where recipients got other headers or bodies, and one
row a recipient. `store` and `apply` return when what they wrote is on the disk; commits are shared by all then waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from hslpy.errors import MailError
from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.records import dataclass, record


class SpoolError(MailError):
    """Nothing of what was asked was written, or what was to be read is not there. The peer hears `reply`.

    `unfit` says that no spool could ever write it: not the disk is at fault, but what was given.
    """

    reply: Reply
    unfit = False

    def __init__(self, message: str) -> None:
        super().__init__(message, temporary=True, reply=Reply(451, (4, 3, 0), ("Local storage failed, try again later",)))


class SpoolDamaged(SpoolError):
    """What was to be read is damaged or missing, and will be when asked again: an operator must look at it."""


class SpoolFull(SpoolError):
    """The disk is full, or has less free than `min_free_bytes`: new messages are refused, deliveries go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(452, (4, 3, 1), ("Insufficient system storage",))


@record
class NewRecipient:
    """A recipient to be queued. `variant` indexes `NewMessage.variants`, -1 for the content as received.

    `egress` is what the choice of delivery IPs goes by: source of the keys, `egress.traffic.origin`.
    """

    recipient: Address
    sender: Address
    transport_id: str
    due_at: float
    variant: int = -1
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    sender_params: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    hold: bool = False
    quarantine_id: str | None = None
    job_id: str = ""
    priority: int = 0
    tenant_id: str = ""
    egress: Mapping[str, str] = field(default_factory=dict)


@record
class NewMessage:
    """A message to be made durable. `header` ends with the empty line; `variants` are (header or None, body or None)."""

    transaction_id: str
    received_at: float
    remote_ip: str
    helo: str
    sasl_username: str
    server_id: str
    header: bytes
    body: bytes
    recipients: tuple[NewRecipient, ...]
    variants: tuple[tuple[bytes | None, bytes | None], ...] = ()


@dataclass(slots=True)
class QueuedRecipient:
    """One recipient's row, as loaded at start or just stored. Plain data; the queue owns the copy in memory.

    `retries` counts charged attempts; `first_at` and `last_at` are 0.0 before the first; `last_error` is the text of
    the last failure for `queue list`. `message_id` joins the recipients of one stored message.
    """

    queue_id: int
    message_id: int
    transaction_id: str
    received_at: float
    sender: Address
    recipient: Address
    transport_id: str
    due_at: float
    size_bytes: int
    variant: int = -1
    remote_ip: str = ""
    helo: str = ""
    sasl_username: str = ""
    server_id: str = ""
    sender_params: Mapping[str, str] = field(default_factory=dict)
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    last_error: str = ""
    hold: bool = False
    quarantine_id: str | None = None
    job_id: str = ""
    priority: int = 0
    tenant_id: str = ""
    egress: Mapping[str, str] = field(default_factory=dict)


@record
class Update:
    """New values for one recipient, by field name of QueuedRecipient. The names allowed are CHANGEABLE's."""

    queue_id: int
    values: Mapping[str, object]


@record
class Remove:
    """The recipient is done with; its message goes with the last of them."""

    queue_id: int


CHANGEABLE = frozenset(
    {
        *("transport_id", "due_at", "retries", "first_at", "last_at", "last_error", "metadata", "egress"),
        *("hold", "quarantine_id", "job_id", "priority"),
    }
)


@record
class SpoolStats:
    """`free_bytes` is the disk's free space with the store's own free pages; `database_bytes` excludes body files.
    `set_aside` are the folders that hold what was found damaged, for the operator to look at and remove.

    `full` says that this is below the spool's watermark, so that `store` raises SpoolFull: MAIL can be refused at once.
    """

    free_bytes: int
    full: bool
    database_bytes: int
    commits: int
    stored: int
    removed: int
    set_aside: tuple[str, ...] = ()


Then = Callable[[tuple[QueuedRecipient, ...]], None]


class Spool(Protocol):
    """Ids are positive and never given twice. A change to a recipient that is gone is ignored.

    A caller cancelled while it waits does not undo the write: what was handed over may be there after a restart.
    Raises SpoolError (SpoolFull for want of room) from `store` and `apply`; then nothing of that call was written.
    """

    async def store(self, message: NewMessage, then: Then | None = None) -> tuple[QueuedRecipient, ...]:
        """Make the message durable and give its recipients with their new ids.

        `then` is told them once they are durable, even where the caller was cancelled while it waited.
        """
        ...

    async def apply(self, changes: Sequence[Update | Remove], new: NewMessage | None = None) -> tuple[QueuedRecipient, ...]:
        """Write the changes, and a new message (a DSN) with them, in one transaction; give the new recipients."""
        ...

    async def read(self, message_id: int, variant: int) -> bytes:
        """Give the content, header and body, for that variant. Raises SpoolDamaged when it is not there as it was stored."""
        ...

    def recover(self) -> AsyncIterator[Iterable[QueuedRecipient]]:
        """Give all queued recipients in batches, in the order of their queue ids."""
        ...

    def stats(self) -> SpoolStats: ...

    async def close(self) -> None:
        """Write what is waiting, then let go of the files."""
        ...
