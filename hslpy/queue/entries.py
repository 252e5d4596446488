"""One queued recipient in memory. In: a loaded row, a field's name. Out: the row made small, the field's value.

The fields are those that metrics, filters and operators name, in HSL's spelling. Knows nothing of due times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping

from hslpy.mail.address import Address, ascii_lower
from hslpy.spool.contract import QueuedRecipient
from hslpy.spool.rows import shared_sender

Key = Callable[[QueuedRecipient], str | None]

_NOTHING: Mapping[str, str] = {}


def path_key(address: Address) -> str:
    """Give an address as it is compared, and as scripts see it: ASCII letters small, the null sender empty."""
    return ascii_lower(str(address))


FIELDS: Mapping[str, Key] = {
    "senderip": lambda entry: entry.remote_ip,
    "saslusername": lambda entry: entry.sasl_username,
    "sender": lambda entry: path_key(entry.sender),
    "senderdomain": lambda entry: ascii_lower(entry.sender.domain),
    "recipient": lambda entry: path_key(entry.recipient),
    "recipientdomain": lambda entry: ascii_lower(entry.recipient.domain),
    "transportid": lambda entry: entry.transport_id,
    "retry": lambda entry: str(entry.retries),
    "jobid": lambda entry: entry.job_id,
    "serverid": lambda entry: entry.server_id,
    "tenantid": lambda entry: entry.tenant_id,
}
METADATA = "metadata."
_LOWER_CASE = frozenset({"sender", "senderdomain", "recipient", "recipientdomain"})


def field_key(name: str) -> Key:
    """Give the function from an entry to its value of the field; None is the value of metadata that is not set.

    Raises ValueError for a name that is neither in FIELDS nor `metadata.` and a key.
    """
    if name in FIELDS:
        return FIELDS[name]
    if name.startswith(METADATA) and len(name) > len(METADATA):
        key = name[len(METADATA) :]
        return lambda entry: entry.metadata.get(key)
    raise ValueError(f"unknown queue field `{name}`, wanted one of {', '.join(FIELDS)} or metadata.<name>")


def named(entry: QueuedRecipient) -> dict[str, object]:
    """Give what an event says of which recipient it is about."""
    return {"transaction": entry.transaction_id, "queue_id": entry.queue_id}


def user_key(egress: Mapping[str, str]) -> str:
    """Give the outgoing user that the choice of delivery IPs goes by, `user@domain`; empty where there is none."""
    domain = egress.get("domain", "")
    return f"{egress.get('username', '')}@{domain}" if domain else ""


def has_egress(egress: Mapping[str, str], wanted: Mapping[str, Collection[str]]) -> bool:
    """Say whether what the choice of delivery IPs goes by has a wanted value of each kind; `from` is an address tried."""
    for kind, values in wanted.items():
        found = (egress.get("from4"), egress.get("from6")) if kind == "from" else (egress.get(kind),)
        if not any(value in values for value in found):
            return False
    return True


def wanted_value(name: str, value: str) -> str:
    """Give a filter's value as the field's values are spelt."""
    return ascii_lower(value) if name in _LOWER_CASE else value


def compact(entry: QueuedRecipient) -> QueuedRecipient:
    """Share what many entries have in common: the entry is changed and given back."""
    intern = sys.intern
    sender, recipient = entry.sender, entry.recipient
    entry.sender = shared_sender(sender.local_part, sender.domain)
    entry.recipient = Address(recipient.local_part, intern(recipient.domain))
    entry.transport_id = intern(entry.transport_id)
    entry.remote_ip = intern(entry.remote_ip)
    entry.helo = intern(entry.helo)
    entry.sasl_username = intern(entry.sasl_username)
    entry.server_id = intern(entry.server_id)
    entry.job_id = intern(entry.job_id)
    entry.tenant_id = intern(entry.tenant_id)
    if entry.message_id == entry.queue_id:
        entry.message_id = entry.queue_id  # one int object, not two
    entry.sender_params = entry.sender_params or _NOTHING
    entry.recipient_params = entry.recipient_params or _NOTHING
    entry.metadata = entry.metadata or _NOTHING
    entry.egress = entry.egress or _NOTHING
    entry.last_error = intern(entry.last_error)
    entry.first_at = entry.first_at or 0.0
    entry.last_at = entry.last_at or 0.0
    return entry
