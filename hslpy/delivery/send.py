"""Mail that scripts send at once: one attempt, without queue and hooks. In: `Sending`. Out: what came of it.

Shares sources, DNS rules and connections with delivery from the queue; the bounds on attempts are not its own, for the
script that waits holds its session already.
"""

from __future__ import annotations

import asyncio
import os

from hslpy.delivery.attempt import Attempts, Parcel
from hslpy.delivery.leaving import Origin
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.mail.attempt import AttemptFacts, Sending


class Sender:
    """Sends by the settings' transports, or without one."""

    def __init__(self, settings: DeliverySettings, attempts: Attempts) -> None:
        self._settings = settings
        self._attempts = attempts

    async def send(self, sending: Sending) -> tuple[AttemptFacts, ...]:
        """Try the message, and give what came of it for each recipient, in order."""
        transport = self._settings.transports.get(sending.transport_id) if sending.transport_id else Transport("")
        if transport is None:
            error = f"transport {sending.transport_id} is not configured"
            return (AttemptFacts(0.0, error=error, error_type="config"),) * len(sending.recipients)
        parcel = Parcel(
            sender=sending.sender,
            recipients=sending.recipients,
            content=sending.content,
            sender_params=sending.sender_params,
            recipient_params=sending.recipient_params,
            key=0,
            ids=sending.ids,
            origin=Origin(key=os.urandom(8)),
        )
        outcomes = await self._attempts.make(parcel, sending.options, transport)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # which an answer that came with it had kept back: see `Transaction`
        return tuple(
            each.facts if each.facts is not None else AttemptFacts(0.0, error=each.text, error_type="config")
            for each in outcomes
        )
