"""Messages for tests of spool and queue."""

from __future__ import annotations

from hslpy.mail.address import Address
from hslpy.spool.contract import NewMessage, NewRecipient

SENDER = Address("alice", "Example.org")


def recipient(name: str = "bob", due_at: float = 1000.0, **fields: object) -> NewRecipient:
    values: dict[str, object] = {
        "recipient": Address(name, "example.net"),
        "sender": SENDER,
        "transport_id": "mailtransport:1",
        "due_at": due_at,
        **fields,
    }
    return NewRecipient(**values)  # type: ignore[arg-type]


def message(*recipients: NewRecipient, **fields: object) -> NewMessage:
    values: dict[str, object] = {
        "transaction_id": "transaction-1",
        "received_at": 999.5,
        "remote_ip": "192.0.2.1",
        "helo": "client.example",
        "sasl_username": "user",
        "server_id": "mailserver:1",
        "header": b"Subject: a test\r\n\r\n",
        "body": b"body\r\n",
        "recipients": recipients or (recipient(),),
        **fields,
    }
    return NewMessage(**values)  # type: ignore[arg-type]
