"""Mail that scripts make outside a server: kept, not sent. In: messages. Out: lists of them, and the answer that was set."""

from __future__ import annotations

from dataclasses import field

from hslpy.lang.values import Array
from hslpy.mail.attempt import AttemptFacts, Sending
from hslpy.records import dataclass
from hslpy.spool.contract import NewMessage, QueuedRecipient
from hslpy.spool.rows import queued_recipients

NOT_SENT = AttemptFacts(0.0, error="no mail is sent outside a server", error_type="config")


@dataclass(slots=True)
class KeptOutbox:
    """Keeps what is queued and sent. `answer` is what each sent message comes to."""

    queued: list[NewMessage] = field(default_factory=list)
    sent: list[Sending] = field(default_factory=list)
    answer: AttemptFacts = NOT_SENT

    async def queue(self, message: NewMessage) -> tuple[QueuedRecipient, ...]:
        self.queued.append(message)
        return queued_recipients(message, len(self.queued))

    async def send(self, sending: Sending) -> tuple[AttemptFacts, ...]:
        self.sent.append(sending)
        return (self.answer,) * len(sending.recipients)


def queued_mail(message: NewMessage) -> Array:
    """Give a queued message as tests see it."""
    one = message.recipients[0]
    return Array.mapping(
        {
            "sender": str(one.sender),
            "recipient": str(one.recipient),
            "transportid": one.transport_id,
            "metadata": Array.mapping(dict(one.metadata)),
            "message": (message.header + message.body).decode("latin-1"),
        }
    )


def sent_mail(sending: Sending) -> Array:
    """Give a sent message as tests see it."""
    return Array.mapping(
        {
            "sender": str(sending.sender),
            "recipients": Array.of([str(one) for one in sending.recipients]),
            "transportid": sending.transport_id,
            "host": sending.options.host or "",
            "message": sending.content.decode("latin-1"),
        }
    )
