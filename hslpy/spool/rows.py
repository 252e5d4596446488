"""Messages as rows and rows as recipients. In: `NewMessage`, column values. Out: the same in the other form.

Pure: no database here, so that both spools build their recipients the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from sys import intern
from typing import Any

from xxhash import xxh3_64_intdigest

from hslpy.mail.address import NULL_SENDER, Address
from hslpy.spool.contract import CHANGEABLE, NewMessage, QueuedRecipient, Update

NO_PARAMS: Mapping[str, str] = {}  # shared by all rows without parameters: nobody changes a row's mapping in place

RECIPIENT_COLUMNS = (
    *("queue_id", "message_id", "sender_local", "sender_domain", "recipient_local", "recipient_domain", "transport_id"),
    *("due_at", "variant", "size_bytes", "retries", "first_at", "last_at", "last_error", "hold", "quarantine_id", "job_id"),
    *("priority", "sender_params", "recipient_params", "metadata", "tenant_id", "egress"),
)
MESSAGE_COLUMNS = (
    "id",
    "transaction_id",
    "received_at",
    "remote_ip",
    "helo",
    "sasl_username",
    "server_id",
    "recipients",
    "has_files",
)
CONTENT_COLUMNS = ("message_id", "header", "body", "checksum")
PLACE_COLUMNS = ("message_id", "segment", "offset", "length")
VARIANT_COLUMNS = ("message_id", "variant", "same_header", "same_body", "header", "body", "checksum")
LOAD_COLUMNS = ", ".join(
    [
        *(f"r.{name}" for name in RECIPIENT_COLUMNS),
        *(f"m.{name}" for name in ("transaction_id", "received_at", "remote_ip", "helo", "sasl_username", "server_id")),
    ]
)


def checksum(header: bytes | None, body: bytes | None) -> int:
    """Give what is stored with a content to know it again: 31 bits for the header, 32 for the body, 0 for one that is None.

    XXH3 goes through 50 KiB in 5 us; zlib's CRC-32 takes 20 to 40 (measured, see durability.md).
    """
    high = 0 if header is None else xxh3_64_intdigest(header) & 0x7FFFFFFF
    low = 0 if body is None else xxh3_64_intdigest(body) & 0xFFFFFFFF
    return high << 32 | low


def content_of(message: NewMessage, variant: int) -> tuple[bytes, bytes]:
    """Give header and body of a variant, -1 for the content as received. Raises IndexError when there is none."""
    if variant < 0:
        return message.header, message.body
    header, body = message.variants[variant]
    return message.header if header is None else header, message.body if body is None else body


def queued_recipients(message: NewMessage, first_id: int) -> tuple[QueuedRecipient, ...]:
    """Give the recipients with the ids from `first_id` on; the first of them is also the message's id.

    Raises ValueError for a message without recipients, or with a variant it has not got.
    """
    if not message.recipients:
        raise ValueError("a message to be stored needs at least one recipient")
    sizes: dict[int, int] = {}
    for variant in {new.variant for new in message.recipients}:
        if not -1 <= variant < len(message.variants):
            raise ValueError(f"variant {variant} of a message with {len(message.variants)}")
        header, body = content_of(message, variant)
        sizes[variant] = len(header) + len(body)
    # By position, as in `entries_from`: two dozen keywords take four times as long.
    return tuple(
        [
            QueuedRecipient(
                queue_id,
                first_id,
                message.transaction_id,
                message.received_at,
                new.sender,
                new.recipient,
                new.transport_id,
                new.due_at,
                sizes[new.variant],
                new.variant,
                message.remote_ip,
                message.helo,
                message.sasl_username,
                message.server_id,
                new.sender_params or NO_PARAMS,
                new.recipient_params or NO_PARAMS,
                new.metadata or NO_PARAMS,
                hold=new.hold,
                quarantine_id=new.quarantine_id,
                job_id=new.job_id,
                priority=new.priority,
                tenant_id=new.tenant_id,
                egress=new.egress or NO_PARAMS,
            )
            for queue_id, new in enumerate(message.recipients, first_id)
        ]
    )


def recipient_row(entry: QueuedRecipient) -> tuple[object, ...]:
    """Give the values of RECIPIENT_COLUMNS."""
    sender, recipient = entry.sender, entry.recipient
    return (
        *(entry.queue_id, entry.message_id, sender.local_part, sender.domain, recipient.local_part, recipient.domain),
        *(entry.transport_id, entry.due_at, entry.variant, entry.size_bytes, entry.retries, entry.first_at, entry.last_at),
        *(entry.last_error, int(entry.hold), entry.quarantine_id, entry.job_id, entry.priority),
        *(pack(entry.sender_params), pack(entry.recipient_params), pack(entry.metadata)),
        *(entry.tenant_id, pack(entry.egress)),
    )


@lru_cache(maxsize=8192)
def shared_sender(local_part: str, domain: str) -> Address:
    """Give the address, the same object each time for those that send much: a long queue has few senders."""
    return Address(intern(local_part), intern(domain)) if domain or local_part else NULL_SENDER


def entries_from(rows: Iterable[tuple[Any, ...]]) -> Iterator[QueuedRecipient]:
    """Give the recipients that rows of LOAD_COLUMNS hold."""
    for row in rows:
        (queue_id, message_id, sender_local, sender_domain, local, domain, transport_id) = row[:7]
        (due_at, variant, size_bytes, retries, first_at, last_at, last_error, hold, quarantine_id, job_id) = row[7:17]
        (priority, sender_params, recipient_params, metadata, tenant_id, egress) = row[17:23]
        (transaction_id, received_at, remote_ip, helo, sasl_username, server_id) = row[23:]
        yield QueuedRecipient(
            queue_id,
            message_id,
            transaction_id,
            received_at,
            shared_sender(sender_local, sender_domain),
            Address(local, domain),
            transport_id,
            due_at,
            size_bytes,
            variant,
            remote_ip,
            helo,
            sasl_username,
            server_id,
            NO_PARAMS if sender_params is None else unpack(sender_params),
            NO_PARAMS if recipient_params is None else unpack(recipient_params),
            NO_PARAMS if metadata is None else unpack(metadata),
            retries,
            first_at,
            last_at,
            last_error,
            bool(hold),
            quarantine_id,
            job_id,
            priority,
            tenant_id,
            NO_PARAMS if egress is None else unpack(egress),
        )


def update_row(update: Update) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """Give the names of the columns to set, and their values followed by the queue id.

    Raises ValueError for a field that is not CHANGEABLE.
    """
    values: list[object] = []
    for name, value in update.values.items():
        if name not in CHANGEABLE:
            raise ValueError(f"`{name}` of a queued recipient cannot be changed")
        values.append(pack(value) if isinstance(value, Mapping) else value)
    values.append(update.queue_id)
    return tuple(update.values), tuple(values)


_quote = json.encoder.encode_basestring_ascii  # what json.dumps does with texts, without making an encoder for each call


def pack(mapping: Mapping[str, str]) -> str | None:
    """Give the mapping as JSON, None when it is empty."""
    if not mapping:
        return None
    return "{" + ",".join([f"{_quote(key)}:{_quote(value)}" for key, value in mapping.items()]) + "}"


@lru_cache(maxsize=8192)
def unpack(text: str) -> Mapping[str, str]:
    """Give the mapping that `pack` wrote, the same object for the same text: nobody changes it in place."""
    mapping: dict[str, str] = json.loads(text)
    return {intern(key): value for key, value in mapping.items()}
